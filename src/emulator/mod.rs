//! IMDSv2, STS and CloudWatch Logs over real HTTP on loopback, as strict as AWS, with faults that tests set. It
//! imports nothing of ours, so that one misreading of a protocol can't pass on both sides.
