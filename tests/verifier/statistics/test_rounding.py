from hypothesis import given
from hypothesis import strategies as st

from weightwarden.verifier.statistics.rounding import lower_fixed, upper, upper_fixed

LIMITS = st.floats(0, 1e15)


@given(LIMITS, st.integers(1, 6))
def test_a_printed_limit_is_still_a_limit_and_near_the_value(value: float, digits: int) -> None:
    assert value <= float(upper(value, digits)) <= value * (1 + 10 ** (1 - digits)) + 1e-320
    assert float(lower_fixed(value, digits)) <= value <= float(upper_fixed(value, digits))
    assert float(upper_fixed(value, digits)) - float(lower_fixed(value, digits)) <= 10.0**-digits + 1e-12 * value


def test_values_with_few_digits_are_printed_as_they_are() -> None:
    assert [upper(value) for value in (0.0, 1e-4, 0.5, 1.0, 5e-324)] == ["0", "0.0001", "0.5", "1", "4.9e-324"]
    assert upper(1.0000001e-4) == "0.00011"
    assert (upper_fixed(0.1, 3), lower_fixed(0.1, 3), upper_fixed(0.1001, 3)) == ("0.100", "0.100", "0.101")
    assert upper(float("inf")) == "inf"
