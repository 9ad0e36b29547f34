//! What may be called how (CloudWatch Logs API, `CreateLogGroup` and `CreateLogStream`). Not whether it exists.

use super::super::answer::Refusal;
use super::{constraint, invalid};

/// The longest name of a group or stream, in characters.
const LONGEST: usize = 512;

/// Checks the name of a group that a request names.
pub(super) fn group(name: &str) -> Result<(), Refusal> {
    length(name, "logGroupName")?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte)) {
        return Err(constraint(name, "logGroupName", "satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+"));
    }
    Ok(())
}

/// Checks the name of a group that is to be created: those of AWS are AWS's.
pub(super) fn new_group(name: &str) -> Result<(), Refusal> {
    group(name)?;
    if name.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws/")) {
        return Err(invalid("Log groups starting with AWS/ are reserved for AWS."));
    }
    Ok(())
}

/// Checks the name of a stream.
pub(super) fn stream(name: &str) -> Result<(), Refusal> {
    length(name, "logStreamName")?;
    if name.contains([':', '*']) {
        return Err(constraint(name, "logStreamName", "satisfy regular expression pattern: [^:*]*"));
    }
    Ok(())
}

fn length(name: &str, member: &str) -> Result<(), Refusal> {
    match name.chars().count() {
        0 => Err(constraint(name, member, "have length greater than or equal to 1")),
        1..=LONGEST => Ok(()),
        _ => Err(constraint(name, member, &format!("have length less than or equal to {LONGEST}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_of_letters_digits_and_five_signs() {
        for name in ["/aws/ec2/app", "a", "a.b-c_d#e", &"x".repeat(512)] {
            assert!(new_group(name).is_ok(), "{name}");
        }
        for name in ["", "with space", "a:b", "ü", "aws/ec2", "AWS/x", &"x".repeat(513)] {
            assert_eq!(new_group(name).unwrap_err().code, "InvalidParameterException", "{name}");
        }
    }

    #[test]
    fn streams_are_of_anything_but_colon_and_star() {
        for name in ["i-1/app.log", "mit Leerzeichen", "ü", &"ü".repeat(512)] {
            assert!(stream(name).is_ok(), "{name}");
        }
        for name in ["", "a:b", "a*b", &"x".repeat(513)] {
            assert_eq!(stream(name).unwrap_err().code, "InvalidParameterException", "{name}");
        }
    }
}
