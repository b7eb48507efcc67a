"""Every code that a problem can carry: what it means and why it matters. docs/errors.md is made from this."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """The explanation of one code."""

    title: str
    reason: str


CODES = {
    "GG101": Code("The text is not YAML", "A spec is plain YAML without anchors, aliases and tags. Inside `[ ]` and `{ }` YAML ends a plain value at a comma, so an expression with commas is quoted or stands on a line of its own."),
    "GG102": Code("An expression does not parse", "Expressions follow a small subset of Python's grammar (docs/design.md). They are parsed, never executed."),
    "GG103": Code("A name is written twice", "YAML would silently keep the last of two equal keys, which hides a mistake."),
    "GG201": Code("An unknown key", "Every key of a spec is known; one that is not is most likely a misspelling, and ignoring it would train something else."),
    "GG202": Code("A key is missing", "This key has no sensible default."),
    "GG203": Code("The wrong kind of value", "A mapping stands where an expression belongs, or the other way round."),
    "GG204": Code("A setting leads nowhere", "`--set path=value` replaces something that is there (or adds a key to a mapping that is there)."),
    "GG205": Code("No such profile or variant", "Profiles and variants are named in the document."),
    "GG206": Code("Another version of the language", "`gangraph: 1` says which version of the language a spec is written in; this engine reads version 1."),
    "GG210": Code("Not a network", "Under `networks:` stands a call of a network with its params, or a mapping that defines one in place."),
    "GG211": Code("No such network", "A network is found in `networks/` next to the spec, or among those that gangraph ships."),
    "GG212": Code("A param that the network does not have", "Params of networks are given by name."),
    "GG213": Code("A network without output", "A network is a chain (`layers:`) or says what it returns (`output:` or `outputs:`)."),
    "GG214": Code("An average copy is written wrongly", "`average(NETWORK, decay=0.999)` keeps a moving average of a network's parameters."),
    "GG220": Code("An optimizer group is written wrongly", "A group is a call of an optimizer with a network or a list of networks, and the optimizer's own options."),
    "GG221": Code("An update without exactly one objective", "Each group of an update minimises or maximises one expression."),
    "GG222": Code("`draw:` does not name sources", "It lists the sources that are drawn anew before the update."),
    "GG223": Code("No such mode", "Evaluation runs networks in `train` or `eval` mode."),
    "GG224": Code("`best:` does not name a metric", "The best checkpoint is chosen by one metric of `evaluate:`."),
    "GG225": Code("Not a whole number", "A count is a whole number of at least 1."),
    "GG226": Code("A length without a unit", "100 steps, 100 epochs and 100 images differ by orders of magnitude."),
    "GG301": Code("An expression has no value", "Division by zero, text in arithmetic, or a number that is too large."),
    "GG303": Code("A definition that needs itself", "Params, values and parts are computed from others, never from themselves."),
    "GG304": Code("A member that is not there", "A family or list has only the members that its definition gives it."),
    "GG305": Code("Something static is not known before the run", "Sizes, counts and options of layers shape the graph; only numbers, strings and params can stand there."),
    "GG306": Code("Not a range", "A family runs over whole numbers, such as 1..4, or over a list."),
    "GG307": Code("Not a number over time", "Learning rates, counts and conditions are computed from step, epoch, seen and progress alone."),
    "GG308": Code("No meaning for tensors", "This piece of grammar has a meaning for static numbers only."),
    "GG310": Code("An unknown name", "Every name is a value, a loss, a source, a network, a param, an op or a loss function."),
    "GG311": Code("The wrong kind of thing is called", "Layers stand in networks, sources under data:, ops and losses in values and losses."),
    "GG312": Code("A call does not fit", "Too many, too few or unknown arguments."),
    "GG313": Code("An argument of the wrong type", "Tensors and constants are different things, and each parameter takes one of them."),
    "GG314": Code("No such source", "Data sources are registered by name."),
    "GG315": Code("A source cannot be made", "Its own check refused the arguments."),
    "GG316": Code("The wrong part of a value", "Streams with several fields and networks with several outputs are used by field."),
    "GG317": Code("A network is called wrongly", "A call gives every input of the network, and each is a value."),
    "GG318": Code("No such optimizer group", "An update names a group of `optimizers:`."),
    "GG319": Code("An optimizer is given something without parameters", "Only networks (not averages of networks) are trained."),
    "GG320": Code("No such optimizer, or no such option", "Optimizers are torch.optim's, by their names in lower case, with their options."),
    "GG321": Code("No such operation on parameters", "`then:` lists operations on a network's parameters."),
    "GG322": Code("Parameters cannot start like this", "`init:` maps a kind of layer (conv, linear, norm, embedding, all) to a scheme of torch.nn.init."),
    "GG402": Code("A network does not fit its input", "The network was run on tensors without storage, and a layer could not take what reached it."),
    "GG403": Code("An op cannot take these values", "The op was run on tensors without storage and refused them."),
    "GG404": Code("An objective is not one number", "An optimizer minimises a number; average or sum the values."),
    "GG501": Code("An objective reaches no parameter of its group", "Its gradient would be zero: the update would do nothing."),
    "GG502": Code("There is nothing to train", "A spec trains in at least one update."),
    "GG503": Code("A gradient that is always zero", "`grad(output, input)` needs an output that is computed from the input."),
    "GG504": Code("A held value that may not exist", "`held(v)` is the value as it was when first computed in the step; an update with `times:`, `every:` or `when:` may be passed over, and then there is none."),
    "GG505": Code("A length that cannot be counted", "Epochs and images are counted by what is drawn from data; a spec with random sources alone has a length in steps."),
    "GG601": Code("Batch norm under a gradient penalty", "The penalty is a statement about each sample's own gradient; a layer that mixes samples makes it a statement about the batch (Gulrajani et al. 2017, section 4). Use instance, layer or no normalisation in the critic."),
    "GG602": Code("A Wasserstein critic without a Lipschitz constraint", "Without weight clipping, a gradient penalty or spectral norm the critic's loss has no lower bound (Arjovsky et al. 2017, section 3)."),
    "GG603": Code("Value ranges that do not meet", "One side lives in [-1, 1] and the other in [0, 1], say: a critic tells them apart by brightness alone and the generator cannot follow."),
    "GG604": Code("A sigmoid before a loss that takes logits", "The loss applies its own sigmoid, in a stable form; two of them flatten the gradient."),
    "GG605": Code("A network that no update trains", "Its parameters stay at their random start."),
    "GG606": Code("A network in two optimizer groups", "Two optimizers keep separate state for the same parameters; rarely what a paper means."),
    "GG607": Code("A saturating generator loss", "Its gradient vanishes where the critic wins, which is where training starts (Goodfellow et al. 2014, section 3). Right only where a spec studies just that."),
    "GG608": Code("Something that nothing uses", "A value, loss, source or network that no update, metric or grid depends on."),
    "GG609": Code("A term of weight 0", "It is left out of the program; its networks may then be untrained."),
    "GG610": Code("An average over buffers", "Batch norm's running statistics are averages already, and its counters are integers; averaging them again lags or fails. `buffers=\"copy\"` takes them from the network as they are."),
    "GG611": Code("A generator that would minimise the critic's loss", "A critic's loss falls when fakes are easy to tell; a group with the generator would be trained to be caught."),
    "GG612": Code("`held` where nothing changes", "No update between the first use and this one changes what the value is computed from, so it has no effect."),
    "GG613": Code("Momentum with a clipped Wasserstein critic", "Adam with beta1 above 0 was seen to destabilise it (Arjovsky et al. 2017, section 4.3); the paper takes RMSprop."),
    "GG614": Code("An unstable logarithm", "log(sigmoid(x)) is -infinity where sigmoid underflows; log_sigmoid(x) is exact."),
    "GG615": Code("A learning rate of 0", "The group would never change."),
}  # fmt: skip
