"""Names that a user may give and a backend may trip over: its temporaries, words of its languages, constants of sympy."""

from __future__ import annotations

from collections.abc import Collection

from neuro.checks.common import reserved_problem
from twinspike.fuzzing.dice import Dice


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_HOSTILE = _words("""
z left zeros frozen pending drive spike spikes_ margin out across take full total rows through above not_below states step constants observe
e E S Q C O I_in I beta gamma zeta oo zoo nan Lambda lambda_ symbol
g G G_a p_ c0 c1 v_new v_k1 v_k2 u_new l_v t0 x0 xi2 i_ k n m w_ h f r s a b q u v x y tau_ dt_ t_ T
real byte int_ int32 int64 double float long short char void register static struct union new delete this operator template
class_ in_ self object torch numpy np math sp where_ exprel_ sign_of magnitude minimum maximum remainder floor_of ceil_of
INFINITY TILE M_PI REAL_IS_FLOAT R restrict inline printf main memset arrays strides status steps every batch begin end unit tiles set
first active trial lane kept record offsets events channels mask delay weight post pre index counts
cells synapses group clock rate refractory lastupdate N_incoming N_outgoing namespace method order when name source target
sum len abs_ pow fabs gain bias alpha eps delta_ E_L v_th v_reset tau_m tau_s I_syn g_syn R_m
""")

POPULATIONS = _words("""
G G_a p_ c0 z left a A_ cells hidden out main real e E x y n_ in_1 double new pre_ post1 network step spikes t_1 x_pre N_ s S torch np
first unit lambda_ G_G w i_1 default sources cells_a synapses_a trace_a
""")


def is_free(name: str) -> bool:
    """True where a variable may be called that."""
    return reserved_problem(name) is None


VARIABLES = tuple(dict.fromkeys(n for n in _HOSTILE if is_free(n) and n != "w"))
PLAIN = tuple(
    f"{letter}{number}" for number in (1, 2) for letter in "abcdhkmnpqruvxy"
)  # names that mean nothing to anybody
PLAIN_OWNERS = tuple(f"part_{letter}" for letter in "abcdefghijklmn")


class Names:
    """Draws names that are not taken yet."""

    def __init__(self, dice: Dice, pool: Collection[str] = VARIABLES) -> None:
        self.dice, self.pool = dice, tuple(pool)
        self.taken: set[str] = set()

    def new(self) -> str:
        """One that nobody has."""
        free = [n for n in self.pool if n not in self.taken]
        name = self.dice.choose(free) if free else f"v{len(self.taken)}"
        self.taken.add(name)
        return name

    def this(self, name: str) -> str | None:
        """A certain name, if it may be had."""
        if name in self.taken or not is_free(name):
            return None
        self.taken.add(name)
        return name
