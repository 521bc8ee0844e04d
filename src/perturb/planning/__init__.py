"""What a target costs before it is made, which seeds a budget buys, and when each run goes."""
