//! The figures of the design, measured on the release binary and printed. Not a test: nothing here fails for being slow.

fn main() {}
