"""The Triton kernels of `gdl.py`, which says what they compute.

Names: `p_` pointer, `s_` stride, `i_` index of a program, `o_` offsets, `m_` mask, capitals for sizes and constants.
A program walks down its tile, STEPS rows for each of BLOCK_G groups of columns. Arithmetic is in ACC, float32 or
float64.
"""

from ._triton import tl, triton, tuned

CONFIGS = [
    triton.Config({}, num_warps=4),  # 16-byte loads, also of 16 bits
    triton.Config({}, num_warps=8),  # more programs on a multiprocessor that holds few
    triton.Config({}, num_warps=2),  # small planes
]
CONFIGS_BACKWARD = [
    triton.Config({}, num_warps=8),  # about 75 registers a thread in float32
    triton.Config({}, num_warps=4),  # 16-byte loads, also of 16 bits; about 150 registers
]


@triton.jit
def _tile(B, C, H, R, BLOCK_G: tl.constexpr, BLOCK_R: tl.constexpr, STEPS: tl.constexpr):
    """Where the first rows of a program's tile are: (a, b, c, row, column)."""
    i_tile = tl.program_id(0)
    blocks_r, blocks_h = tl.cdiv(R, BLOCK_R), tl.cdiv(H, BLOCK_G * STEPS)
    i_r, i_tile = i_tile % blocks_r, i_tile // blocks_r
    i_h, i_plane = i_tile % blocks_h, i_tile // blocks_h
    o_h = (i_h * BLOCK_G + tl.arange(0, BLOCK_G)) * STEPS
    o_r = i_r * BLOCK_R + tl.arange(0, BLOCK_R)
    return i_plane // C // B, i_plane // C % B, i_plane % C, o_h[:, None], o_r[None, :]


@triton.jit
def _at(p_x, s_x, at):
    """The addresses of a tile's first rows; int64, since a stride times an index may pass 2^31."""
    i_a, i_b, i_c, o_h, o_r = at
    p_plane = p_x + i_a.to(tl.int64) * s_x[0] + i_b.to(tl.int64) * s_x[1] + i_c.to(tl.int64) * s_x[2]
    return p_plane + o_h.to(tl.int64) * s_x[3] + o_r.to(tl.int64) * s_x[4]


@triton.jit
def _load(p_p, p_y, mask, ACC: tl.constexpr):
    return tl.load(p_p, mask=mask, other=0).to(ACC), tl.load(p_y, mask=mask, other=0).to(ACC)


@triton.jit
def _power(x, EXPONENT: tl.constexpr):
    """x^EXPONENT for x >= 0."""
    if EXPONENT == 1:
        return x
    elif EXPONENT == 2:
        return x * x
    else:
        return tl.where(x == 0, x, tl.exp2(EXPONENT * tl.log2(tl.where(x == 0, 1, x))))


@triton.jit
def _sign(x):
    """-1, 0 or 1; 0 for NaN, as torch.sign."""
    return (x > 0).to(x.dtype) - (x < 0).to(x.dtype)


@triton.jit
def _slope(x, EXPONENT: tl.constexpr):
    """The derivative of |x|^EXPONENT."""
    if EXPONENT == 1:
        return _sign(x)
    elif EXPONENT == 2:
        return 2 * x
    else:
        return EXPONENT * _power(tl.abs(x), EXPONENT - 1) * _sign(x)


@triton.jit
def _pair(p, y, near_p, near_y, mask, ALPHA: tl.constexpr):
    """What elements and their neighbours add to the loss; 0 where there is no such pair."""
    excess = tl.abs(y - near_y) - tl.abs(p - near_p)
    return tl.where(mask, _power(tl.abs(excess), ALPHA), 0)


@triton.jit
def _pair_slopes(p, y, near_p, near_y, mask, ALPHA: tl.constexpr):
    """The derivatives of `_pair` by p and y; by near_p and near_y they are the same with the other sign."""
    slope = tl.where(mask, _slope(tl.abs(y - near_y) - tl.abs(p - near_p), ALPHA), 0)
    return slope * _sign(near_p - p), slope * _sign(y - near_y)


@tuned(CONFIGS, key=["BLOCK_G", "BLOCK_R", "STEPS"])
@triton.jit
def gdl_forward_kernel(
    p_p, p_y,  # prediction and target [A, B, C, H, R]
    p_loss,  # [programs]: what each tile adds to the loss
    B, C, H, R, NEAR,  # NEAR: how far apart in R horizontal neighbours are
    n_vertical, n_horizontal, n_all,  # numbers of pairs, and of elements
    s_p, s_y,  # five strides each
    ALPHA: tl.constexpr, P: tl.constexpr, WEIGHT: tl.constexpr, ACC: tl.constexpr,
    BLOCK_G: tl.constexpr, BLOCK_R: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Each element, paired with the one above and the one on its left."""
    at = _tile(B, C, H, R, BLOCK_G, BLOCK_R, STEPS)
    p_p, p_y = _at(p_p, s_p, at), _at(p_y, s_y, at)
    o_h, o_r = at[3], at[4]
    m_above = (o_h >= 1) & (o_h < H) & (o_r < R)
    above_p, above_y = _load(p_p - s_p[3], p_y - s_y[3], m_above, ACC)
    b_vertical = tl.zeros([BLOCK_G, BLOCK_R], ACC)
    b_horizontal = tl.zeros([BLOCK_G, BLOCK_R], ACC)
    b_all = tl.zeros([BLOCK_G, BLOCK_R], ACC)
    for step in range(STEPS):
        m_here = (o_h + step < H) & (o_r < R)
        m_left = m_here & (o_r >= NEAR)
        b_p, b_y = _load(p_p, p_y, m_here, ACC)
        left_p, left_y = _load(p_p - NEAR * s_p[4], p_y - NEAR * s_y[4], m_left, ACC)
        b_vertical += _pair(b_p, b_y, above_p, above_y, m_here & (o_h + step >= 1), ALPHA)
        b_horizontal += _pair(b_p, b_y, left_p, left_y, m_left, ALPHA)
        if P is not None:
            b_all += _power(tl.abs(b_p - b_y), P)
        above_p, above_y = b_p, b_y
        p_p, p_y = p_p + s_p[3], p_y + s_y[3]
    loss = tl.sum(b_vertical) / n_vertical + tl.sum(b_horizontal) / n_horizontal
    if P is not None:
        loss += WEIGHT * (tl.sum(b_all) / n_all)
    tl.store(p_loss + tl.program_id(0), loss)


@tuned(CONFIGS_BACKWARD, key=["BLOCK_G", "BLOCK_R", "STEPS"])
@triton.jit
def gdl_backward_kernel(
    p_g,  # []: the gradient of the loss
    p_p, p_y,  # [A, B, C, H, R]
    p_dp, p_dy,  # [A, B, C, H, R], or None where no gradient is needed
    B, C, H, R, NEAR,
    n_vertical, n_horizontal, n_all,
    s_p, s_y, s_dp, s_dy,
    ALPHA: tl.constexpr, P: tl.constexpr, WEIGHT: tl.constexpr, ACC: tl.constexpr,
    BLOCK_G: tl.constexpr, BLOCK_R: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Each element, paired with its four neighbours."""
    at = _tile(B, C, H, R, BLOCK_G, BLOCK_R, STEPS)
    p_p, p_y = _at(p_p, s_p, at), _at(p_y, s_y, at)
    if p_dp is not None:
        p_dp = _at(p_dp, s_dp, at)
    if p_dy is not None:
        p_dy = _at(p_dy, s_dy, at)
    o_h, o_r = at[3], at[4]
    g = tl.load(p_g)
    vertical, horizontal = g / n_vertical, g / n_horizontal
    m_here = (o_h < H) & (o_r < R)
    m_above = m_here & (o_h >= 1)
    b_p, b_y = _load(p_p, p_y, m_here, ACC)
    above_p, above_y = _load(p_p - s_p[3], p_y - s_y[3], m_above, ACC)
    above_p, above_y = _pair_slopes(b_p, b_y, above_p, above_y, m_above, ALPHA)
    for step in range(STEPS):
        m_here = (o_h + step < H) & (o_r < R)
        m_below = (o_h + step < H - 1) & (o_r < R)
        m_left, m_right = m_here & (o_r >= NEAR), m_here & (o_r < R - NEAR)
        below_p, below_y = _load(p_p + s_p[3], p_y + s_y[3], m_below, ACC)
        left_p, left_y = _load(p_p - NEAR * s_p[4], p_y - NEAR * s_y[4], m_left, ACC)
        right_p, right_y = _load(p_p + NEAR * s_p[4], p_y + NEAR * s_y[4], m_right, ACC)
        left_p, left_y = _pair_slopes(b_p, b_y, left_p, left_y, m_left, ALPHA)
        right_p, right_y = _pair_slopes(b_p, b_y, right_p, right_y, m_right, ALPHA)
        next_p, next_y = _pair_slopes(below_p, below_y, b_p, b_y, m_below, ALPHA)
        b_dp = (above_p - next_p) * vertical + (left_p + right_p) * horizontal
        b_dy = (above_y - next_y) * vertical + (left_y + right_y) * horizontal
        if P is not None:
            slope = _slope(b_p - b_y, P) * (WEIGHT * (g / n_all))
            b_dp += slope
            b_dy -= slope
        if p_dp is not None:
            tl.store(p_dp, b_dp, mask=m_here)
            p_dp += s_dp[3]
        if p_dy is not None:
            tl.store(p_dy, b_dy, mask=m_here)
            p_dy += s_dy[3]
        b_p, b_y, above_p, above_y = below_p, below_y, next_p, next_y
        p_p, p_y = p_p + s_p[3], p_y + s_y[3]
