"""Generated names can be told apart, whatever the users' names are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from neuro.language.mangling import mangled, unmangled

# what checks allow: no "_" at the beginning, no "__"
NAMES = st.from_regex(r"[A-Za-z](_?[A-Za-z0-9])*_?", fullmatch=True)
ROLES = st.from_regex(r"[a-z]+", fullmatch=True)


@given(ROLES, st.lists(NAMES, max_size=3))
def test_a_mangled_name_gives_its_parts_back(role: str, names: list[str]) -> None:
    assert unmangled(mangled(role, *names)) == (role, *names)


@given(ROLES, st.lists(NAMES, min_size=1, max_size=3), NAMES)
def test_no_users_name_is_a_mangled_one(role: str, names: list[str], other: str) -> None:
    assert mangled(role, *names).isidentifier()
    assert mangled(role, *names) != other
