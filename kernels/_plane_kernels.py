"""The Triton kernels of `_plane_norm.py`, which says what they compute.

Names: `p_` pointer, `s_` stride, `i_` index of a program, `o_` offsets, `m_` mask, capitals for sizes and constants.
A tile is [BLOCK_C, BLOCK_P]: channels of one sample by positions. Arithmetic is in ACC, float32 or float64.
"""

from ._triton import tl, triton, tuned

# Threads for planes that are held whole. A thread holds 4 numbers (less does not pay for it) to 32 of 32 bits (more
# would spill). On sm_80 and sm_90 forward fits. Backward, which holds twice as much, fits at 128 x 128 too; with tiles
# as large in channels-last it spills 8 to 56 bytes a thread, which is still less than a second read.
WHOLE = [
    triton.Config({}, num_warps=2),  # planes of 32 x 32 and below, several a program
    triton.Config({}, num_warps=8),  # planes of 64 x 64
    triton.Config({}, num_warps=32),  # planes of 128 x 128
    triton.Config({}, num_warps=16),  # the same, and forward two of them on a multiprocessor
]


def _holds(config, constants):
    elements = constants["BLOCK_C"] * constants["CHUNK"] // (32 * config.num_warps)
    return 4 <= elements <= (32 if constants["ACC"] == tl.float32 else 16)


# Elements that a program reads at once while it walks through a chunk.
WALK = [
    triton.Config({"TILE": 2048}, num_warps=8),  # 8 elements a thread: one 16-byte load in bfloat16
    triton.Config({"TILE": 4096}, num_warps=8),  # more loads in flight
    triton.Config({"TILE": 1024}, num_warps=4),  # more programs on a multiprocessor
]


@triton.jit
def _channels(C, BLOCK_C: tl.constexpr):
    """The sample (int64) and the channels of a program."""
    blocks = tl.cdiv(C, BLOCK_C)
    i = tl.program_id(0)
    return (i // blocks).to(tl.int64), (i % blocks) * BLOCK_C + tl.arange(0, BLOCK_C)


@triton.jit
def _chunks(P, CHUNK: tl.constexpr):
    """Chunks of a plane; rounded up without passing 2^31 where P does not."""
    return (P - 1) // CHUNK + 1


@triton.jit
def _at(p_x, i_n, o_c, o_p, s_n, s_c, s_p):
    """Addresses of a tile: [BLOCK_C, BLOCK_P]."""
    return p_x + i_n * s_n + o_c.to(tl.int64)[:, None] * s_c + o_p.to(tl.int64)[None, :] * s_p


@triton.jit
def _leaky_relu(x, SLOPE: tl.constexpr):
    """x where positive, else SLOPE * x; x itself for a slope of 1."""
    if SLOPE != 1.0:
        x = tl.where(x > 0, x, x * SLOPE)
    return x


@triton.jit
def _leaky_relu_gradient(g, x, SLOPE: tl.constexpr):
    """The gradient before a leaky ReLU of x."""
    if SLOPE != 1.0:
        g = tl.where(x > 0, g, g * SLOPE)
    return g


@triton.jit
def _added(x, p_noise, p_noise_weight, p_bias, i_n, o_c, o_p, C, P, ACC: tl.constexpr):
    """x + noise_weight * noise + bias; and the noise [1, BLOCK_P], or anything where there is none."""
    noise = x
    if p_noise is not None:
        noise = tl.load(p_noise + i_n * P + o_p, mask=o_p < P, other=0).to(ACC)[None, :]
        x += tl.load(p_noise_weight + o_c, mask=o_c < C, other=0).to(ACC)[:, None] * noise
    if p_bias is not None:
        x += tl.load(p_bias + o_c, mask=o_c < C, other=0).to(ACC)[:, None]
    return x, noise


@triton.jit
def _mean(total, P, ACC: tl.constexpr):
    """total / P, correctly rounded: sums that nearly cancel depend on the last digits, and it is done once a plane."""
    if ACC == tl.float32:
        return tl.div_rn(total, tl.full([], P, tl.float32))
    return total / P


@triton.jit
def _reciprocal_root(variance, EPS: tl.constexpr, ACC: tl.constexpr):
    """1 / sqrt(variance + eps), correctly rounded."""
    if ACC == tl.float32:
        return tl.div_rn(tl.full(variance.shape, 1, tl.float32), tl.sqrt_rn(variance + EPS))
    return 1 / tl.sqrt(variance + EPS)


@triton.jit
def _per_plane(p_scale, i_n, o_c, C, s_n, ACC: tl.constexpr):
    """A number for each plane of the tile: [BLOCK_C, 1]."""
    return tl.load(p_scale + i_n * s_n + o_c, mask=o_c < C, other=0).to(ACC)[:, None]


@triton.jit
def _affine(n, p_scale, p_shift, i_n, o_c, C, s_scale, s_shift, ACC: tl.constexpr):
    """scale * n + shift."""
    if p_scale is not None:
        n *= _per_plane(p_scale, i_n, o_c, C, s_scale, ACC)
    if p_shift is not None:
        n += _per_plane(p_shift, i_n, o_c, C, s_shift, ACC)
    return n


@triton.jit
def _combine(
    p_mean_k, p_m2_k, i_n, o_c, C, P,
    EPS: tl.constexpr, ACC: tl.constexpr, CHUNK: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Mean and 1/std of planes from those of their chunks (Chan et al. 1979)."""
    K = _chunks(P, CHUNK)
    o_k = tl.arange(0, BLOCK_K).to(tl.int64)
    offset = (i_n * C + o_c.to(tl.int64))[:, None] * K + o_k[None, :]
    mask = (o_c < C)[:, None] & (o_k < K)[None, :]
    count = tl.where(o_k < K, tl.minimum(P - o_k * CHUNK, CHUNK), 0)[None, :]
    mean_k = tl.load(p_mean_k + offset, mask=mask, other=0)
    first = tl.load(p_mean_k + (i_n * C + o_c) * K, mask=o_c < C, other=0)
    mean = first + _mean(tl.sum(count * (mean_k - first[:, None]), 1), P, ACC)  # exact if all are the same
    delta = mean_k - mean[:, None]
    m2 = tl.sum(tl.load(p_m2_k + offset, mask=mask, other=0) + count * delta * delta, 1)
    return mean, _reciprocal_root(_mean(m2, P, ACC), EPS, ACC)


@triton.jit
def _through(g, n, p_scale, p_shift, i_n, o_c, C, s_scale, s_shift, AFTER: tl.constexpr, ACC: tl.constexpr):
    """The gradient before the last activation."""
    if AFTER != 1.0:
        g = _leaky_relu_gradient(g, _affine(n, p_scale, p_shift, i_n, o_c, C, s_scale, s_shift, ACC), AFTER)
    return g


@triton.jit
def _centred(g, n, mean_g, mean_gn):
    """The gradient through the normalisation, before its factor 1/std: g - mean(g) - n * mean(g * n).

    Not g - mean_g first: the difference of a coarse number and a constant is rounded the same way for all of them, and
    the gradients of bias and of noise_weight, which are sums that nearly cancel, would lose two digits.
    """
    return g - (mean_g + n * mean_gn)


# Planes that are held whole: one chunk each.


@tuned(WHOLE, key=["BLOCK_C", "CHUNK"], keep=_holds)
@triton.jit
def plane_forward_kernel(
    p_x, p_noise, p_noise_weight, p_bias, p_scale, p_shift,  # [N, C, P], [N, P], [C], [C], [N, C] or [C], likewise
    p_y, p_mean, p_rstd,  # [N, C, P], [N, C], [N, C]
    C, P,
    s_xn, s_xc, s_xp, s_yn, s_yc, s_yp, s_scale, s_shift,
    EPS: tl.constexpr, BEFORE: tl.constexpr, AFTER: tl.constexpr, ACC: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Whole planes: one read of x, one write of y."""
    o_p = tl.arange(0, CHUNK)
    i_n, o_c = _channels(C, BLOCK_C)
    mask = (o_c < C)[:, None] & (o_p < P)[None, :]
    x = tl.load(_at(p_x, i_n, o_c, o_p, s_xn, s_xc, s_xp), mask=mask, other=0).to(ACC)
    u, _noise = _added(x, p_noise, p_noise_weight, p_bias, i_n, o_c, o_p, C, P, ACC)
    u = _leaky_relu(u, BEFORE)
    mean = _mean(tl.sum(tl.where(mask, u, 0), 1), P, ACC)
    u = tl.where(mask, u - mean[:, None], 0)
    rstd = _reciprocal_root(_mean(tl.sum(u * u, 1), P, ACC), EPS, ACC)
    y = _affine(u * rstd[:, None], p_scale, p_shift, i_n, o_c, C, s_scale, s_shift, ACC)
    y = _leaky_relu(y, AFTER)
    tl.store(_at(p_y, i_n, o_c, o_p, s_yn, s_yc, s_yp), y, mask=mask)
    tl.store(p_mean + i_n * C + o_c, mean, mask=o_c < C)
    tl.store(p_rstd + i_n * C + o_c, rstd, mask=o_c < C)


@tuned(WHOLE, key=["BLOCK_C", "CHUNK"], keep=_holds)
@triton.jit
def plane_backward_kernel(
    p_g, p_x, p_noise, p_noise_weight, p_bias, p_scale, p_shift, p_mean, p_rstd,
    p_dx, p_dscale, p_dshift, p_dbias, p_dweight,  # [N, C, P], and sums over each plane [N, C]
    C, P,
    s_gn, s_gc, s_gp, s_xn, s_xc, s_xp, s_dn, s_dc, s_dp, s_scale, s_shift,
    BEFORE: tl.constexpr, AFTER: tl.constexpr, ACC: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Whole planes: one read of x and of the gradient, one write of dx."""
    o_p = tl.arange(0, CHUNK)
    i_n, o_c = _channels(C, BLOCK_C)
    mask = (o_c < C)[:, None] & (o_p < P)[None, :]
    o_plane, m_c = i_n * C + o_c, o_c < C
    x = tl.load(_at(p_x, i_n, o_c, o_p, s_xn, s_xc, s_xp), mask=mask, other=0).to(ACC)
    g = tl.load(_at(p_g, i_n, o_c, o_p, s_gn, s_gc, s_gp), mask=mask, other=0).to(ACC)
    v, _noise = _added(x, p_noise, p_noise_weight, p_bias, i_n, o_c, o_p, C, P, ACC)
    u = _leaky_relu(v, BEFORE)
    rstd = tl.load(p_rstd + o_plane, mask=m_c, other=0)[:, None]
    n = (u - tl.load(p_mean + o_plane, mask=m_c, other=0)[:, None]) * rstd
    g = _through(g, n, p_scale, p_shift, i_n, o_c, C, s_scale, s_shift, AFTER, ACC)
    sum_g, sum_gn = tl.sum(g, 1), tl.sum(g * n, 1)
    d = _centred(g, n, _mean(sum_g, P, ACC)[:, None], _mean(sum_gn, P, ACC)[:, None]) * rstd
    if p_scale is not None:
        d *= _per_plane(p_scale, i_n, o_c, C, s_scale, ACC)
    d = tl.where(mask, _leaky_relu_gradient(d, v, BEFORE), 0)
    tl.store(_at(p_dx, i_n, o_c, o_p, s_dn, s_dc, s_dp), d, mask=mask)
    tl.store(p_dscale + o_plane, sum_gn, mask=m_c)
    tl.store(p_dshift + o_plane, sum_g, mask=m_c)
    if p_bias is not None:
        tl.store(p_dbias + o_plane, tl.sum(d, 1), mask=m_c)
    if p_noise is not None:  # read again, from the cache: held until here it would spill
        noise = tl.load(p_noise + i_n * P + o_p, mask=o_p < P, other=0).to(ACC)[None, :]
        tl.store(p_dweight + o_plane, tl.sum(d * noise, 1), mask=m_c)


# Planes that are walked through in chunks, twice.


@tuned(WALK, key=["BLOCK_C", "CHUNK"])
@triton.jit
def plane_moments_kernel(
    p_x, p_noise, p_noise_weight, p_bias,
    p_mean_k, p_m2_k,  # [N, C, K]: mean, and sum of squares about it, of each chunk
    C, P,
    s_xn, s_xc, s_xp,
    BEFORE: tl.constexpr, ACC: tl.constexpr, CHUNK: tl.constexpr, BLOCK_C: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """First pass forward: each element of the tile follows its own mean (Welford 1962); they are joined at the end."""
    BLOCK_P: tl.constexpr = TILE // BLOCK_C if TILE // BLOCK_C < CHUNK else CHUNK
    i_k = tl.program_id(1).to(tl.int64)
    i_n, o_c = _channels(C, BLOCK_C)
    mean = tl.zeros([BLOCK_C, BLOCK_P], ACC)
    m2 = tl.zeros([BLOCK_C, BLOCK_P], ACC)
    count = tl.zeros([BLOCK_C, BLOCK_P], ACC)
    for step in range(tl.cdiv(CHUNK, BLOCK_P)):
        o_p = i_k * CHUNK + step * BLOCK_P + tl.arange(0, BLOCK_P)
        mask = (o_c < C)[:, None] & (o_p < P)[None, :]
        x = tl.load(_at(p_x, i_n, o_c, o_p, s_xn, s_xc, s_xp), mask=mask, other=0).to(ACC)
        u, _noise = _added(x, p_noise, p_noise_weight, p_bias, i_n, o_c, o_p, C, P, ACC)
        u = _leaky_relu(u, BEFORE)
        delta = tl.where(mask, u - mean, 0)
        mean += delta * (tl.full([1, 1], 1, ACC) / (step + 1))  # an element that exists has existed in every step
        m2 += delta * (u - mean)
        count += mask.to(ACC)
    # Each has a mean near any other's: the joined one is counted from there, which is exact if all are the same.
    near = tl.where(o_c < C, tl.max(tl.where(count > 0, mean, float("-inf")), 1), 0)
    total = tl.maximum(tl.sum(count, 1), 1)
    joined = near + tl.sum(tl.where(count > 0, count * (mean - near[:, None]), 0), 1) / total
    delta = tl.where(count > 0, mean - joined[:, None], 0)
    offset = (i_n * C + o_c) * _chunks(P, CHUNK) + i_k
    tl.store(p_mean_k + offset, joined, mask=o_c < C)
    tl.store(p_m2_k + offset, tl.sum(m2 + count * delta * delta, 1), mask=o_c < C)


@tuned(WALK, key=["BLOCK_C", "CHUNK"])
@triton.jit
def plane_normalise_kernel(
    p_x, p_noise, p_noise_weight, p_bias, p_scale, p_shift, p_mean_k, p_m2_k,
    p_y, p_mean, p_rstd,
    C, P,
    s_xn, s_xc, s_xp, s_yn, s_yc, s_yp, s_scale, s_shift,
    EPS: tl.constexpr, BEFORE: tl.constexpr, AFTER: tl.constexpr, ACC: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_C: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Second pass forward: mean and 1/std of the plane from all of its chunks, then one chunk of y."""
    BLOCK_P: tl.constexpr = TILE // BLOCK_C if TILE // BLOCK_C < CHUNK else CHUNK
    i_k = tl.program_id(1).to(tl.int64)
    i_n, o_c = _channels(C, BLOCK_C)
    mean, rstd = _combine(p_mean_k, p_m2_k, i_n, o_c, C, P, EPS, ACC, CHUNK, BLOCK_K)
    if i_k == 0:
        tl.store(p_mean + i_n * C + o_c, mean, mask=o_c < C)
        tl.store(p_rstd + i_n * C + o_c, rstd, mask=o_c < C)
    for step in range(tl.cdiv(CHUNK, BLOCK_P)):
        o_p = i_k * CHUNK + step * BLOCK_P + tl.arange(0, BLOCK_P)
        mask = (o_c < C)[:, None] & (o_p < P)[None, :]
        x = tl.load(_at(p_x, i_n, o_c, o_p, s_xn, s_xc, s_xp), mask=mask, other=0).to(ACC)
        u, _noise = _added(x, p_noise, p_noise_weight, p_bias, i_n, o_c, o_p, C, P, ACC)
        u = _leaky_relu(u, BEFORE)
        n = (u - mean[:, None]) * rstd[:, None]
        y = _affine(n, p_scale, p_shift, i_n, o_c, C, s_scale, s_shift, ACC)
        y = _leaky_relu(y, AFTER)
        tl.store(_at(p_y, i_n, o_c, o_p, s_yn, s_yc, s_yp), y, mask=mask)


@tuned(WALK, key=["BLOCK_C", "CHUNK"])
@triton.jit
def plane_gradient_sums_kernel(
    p_g, p_x, p_noise, p_noise_weight, p_bias, p_scale, p_shift, p_mean, p_rstd,
    p_dscale_k, p_dshift_k,  # [N, C, K]
    C, P,
    s_gn, s_gc, s_gp, s_xn, s_xc, s_xp, s_scale, s_shift,
    BEFORE: tl.constexpr, AFTER: tl.constexpr, ACC: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK_C: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """First pass backward: the sums of g and of g * n over each chunk."""
    BLOCK_P: tl.constexpr = TILE // BLOCK_C if TILE // BLOCK_C < CHUNK else CHUNK
    i_k = tl.program_id(1).to(tl.int64)
    i_n, o_c = _channels(C, BLOCK_C)
    mean, rstd = _per_plane(p_mean, i_n, o_c, C, C, ACC), _per_plane(p_rstd, i_n, o_c, C, C, ACC)
    sum_g = tl.zeros([BLOCK_C, BLOCK_P], ACC)
    sum_gn = tl.zeros([BLOCK_C, BLOCK_P], ACC)
    for step in range(tl.cdiv(CHUNK, BLOCK_P)):
        o_p = i_k * CHUNK + step * BLOCK_P + tl.arange(0, BLOCK_P)
        mask = (o_c < C)[:, None] & (o_p < P)[None, :]
        x = tl.load(_at(p_x, i_n, o_c, o_p, s_xn, s_xc, s_xp), mask=mask, other=0).to(ACC)
        g = tl.load(_at(p_g, i_n, o_c, o_p, s_gn, s_gc, s_gp), mask=mask, other=0).to(ACC)
        u, _noise = _added(x, p_noise, p_noise_weight, p_bias, i_n, o_c, o_p, C, P, ACC)
        u = _leaky_relu(u, BEFORE)
        n = (u - mean) * rstd
        g = _through(g, n, p_scale, p_shift, i_n, o_c, C, s_scale, s_shift, AFTER, ACC)
        sum_g += g
        sum_gn += g * n
    offset = (i_n * C + o_c) * _chunks(P, CHUNK) + i_k
    tl.store(p_dscale_k + offset, tl.sum(sum_gn, 1), mask=o_c < C)
    tl.store(p_dshift_k + offset, tl.sum(sum_g, 1), mask=o_c < C)


@tuned(WALK, key=["BLOCK_C", "CHUNK"])
@triton.jit
def plane_gradient_kernel(
    p_g, p_x, p_noise, p_noise_weight, p_bias, p_scale, p_shift, p_mean, p_rstd, p_dscale, p_dshift,
    p_dx, p_dbias_k, p_dweight_k,  # [N, C, P], [N, C, K], [N, C, K]
    C, P,
    s_gn, s_gc, s_gp, s_xn, s_xc, s_xp, s_dn, s_dc, s_dp, s_scale, s_shift,
    BEFORE: tl.constexpr, AFTER: tl.constexpr, ACC: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK_C: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Second pass backward: one chunk of dx from the sums over the plane."""
    BLOCK_P: tl.constexpr = TILE // BLOCK_C if TILE // BLOCK_C < CHUNK else CHUNK
    i_k = tl.program_id(1).to(tl.int64)
    i_n, o_c = _channels(C, BLOCK_C)
    mean, rstd = _per_plane(p_mean, i_n, o_c, C, C, ACC), _per_plane(p_rstd, i_n, o_c, C, C, ACC)
    mean_gn = _mean(_per_plane(p_dscale, i_n, o_c, C, C, ACC), P, ACC)
    mean_g = _mean(_per_plane(p_dshift, i_n, o_c, C, C, ACC), P, ACC)
    factor = rstd
    if p_scale is not None:
        factor *= _per_plane(p_scale, i_n, o_c, C, s_scale, ACC)
    dbias = tl.zeros([BLOCK_C, BLOCK_P], ACC)
    dweight = tl.zeros([BLOCK_C, BLOCK_P], ACC)
    for step in range(tl.cdiv(CHUNK, BLOCK_P)):
        o_p = i_k * CHUNK + step * BLOCK_P + tl.arange(0, BLOCK_P)
        mask = (o_c < C)[:, None] & (o_p < P)[None, :]
        x = tl.load(_at(p_x, i_n, o_c, o_p, s_xn, s_xc, s_xp), mask=mask, other=0).to(ACC)
        g = tl.load(_at(p_g, i_n, o_c, o_p, s_gn, s_gc, s_gp), mask=mask, other=0).to(ACC)
        v, noise = _added(x, p_noise, p_noise_weight, p_bias, i_n, o_c, o_p, C, P, ACC)
        u = _leaky_relu(v, BEFORE)
        n = (u - mean) * rstd
        g = _through(g, n, p_scale, p_shift, i_n, o_c, C, s_scale, s_shift, AFTER, ACC)
        d = _centred(g, n, mean_g, mean_gn) * factor
        d = tl.where(mask, _leaky_relu_gradient(d, v, BEFORE), 0)
        tl.store(_at(p_dx, i_n, o_c, o_p, s_dn, s_dc, s_dp), d, mask=mask)
        dbias += d
        if p_noise is not None:
            dweight += d * noise
    offset = (i_n * C + o_c) * _chunks(P, CHUNK) + i_k
    if p_bias is not None:
        tl.store(p_dbias_k + offset, tl.sum(dbias, 1), mask=o_c < C)
    if p_noise is not None:
        tl.store(p_dweight_k + offset, tl.sum(dweight, 1), mask=o_c < C)


@tuned(WALK, key=["BLOCK_C", "CHUNK"])
@triton.jit
def plane_moments_gradient_kernel(
    p_x, p_mean, p_std, p_dmean, p_dstd,  # [N, C, P], and [N, C] each
    p_dx,  # [N, C, P]
    C, P,
    s_xn, s_xc, s_xp, s_dn, s_dc, s_dp,
    ACC: tl.constexpr, CHUNK: tl.constexpr, BLOCK_C: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """dx = (dmean + dstd * (x - mean) / std) / P; a plane without variance passes nothing on from its std."""
    BLOCK_P: tl.constexpr = TILE // BLOCK_C if TILE // BLOCK_C < CHUNK else CHUNK
    i_k = tl.program_id(1).to(tl.int64)
    i_n, o_c = _channels(C, BLOCK_C)
    mean, std = _per_plane(p_mean, i_n, o_c, C, C, ACC), _per_plane(p_std, i_n, o_c, C, C, ACC)
    by_mean = _mean(_per_plane(p_dmean, i_n, o_c, C, C, ACC), P, ACC)
    by_std = tl.where(std > 0, _per_plane(p_dstd, i_n, o_c, C, C, ACC) / (tl.where(std > 0, std, 1) * P), 0)
    for step in range(tl.cdiv(CHUNK, BLOCK_P)):
        o_p = i_k * CHUNK + step * BLOCK_P + tl.arange(0, BLOCK_P)
        mask = (o_c < C)[:, None] & (o_p < P)[None, :]
        x = tl.load(_at(p_x, i_n, o_c, o_p, s_xn, s_xc, s_xp), mask=mask, other=0).to(ACC)
        tl.store(_at(p_dx, i_n, o_c, o_p, s_dn, s_dc, s_dp), by_mean + by_std * (x - mean), mask=mask)
