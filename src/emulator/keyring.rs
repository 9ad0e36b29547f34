//! The credentials that the emulator issued, and the instance role's rotation. Not who may use them: that is a
//! signature's business, in `sigv4`.

use std::collections::HashMap;
use std::sync::Arc;

use super::clock::Millis;

/// IMDS rotates six-hour credentials about hourly (EC2 User Guide): after a sixth of their life.
const ROTATIONS_PER_LIFE: i64 = 6;

/// Credentials as issued, with what is known of their holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issued {
    pub(super) key_id: String,
    pub(super) secret: String,
    pub(super) token: String,
    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`
    pub(super) arn: String,
    /// `AROA…:SESSION`
    pub(super) user_id: String,
    pub(super) account: String,
    pub(super) issued_at: Millis,
    pub(super) expires_at: Millis,
    /// Refused as expired although the document says otherwise.
    pub(super) revoked: bool,
}

/// Whose session credentials are issued for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder<'a> {
    pub(super) partition: &'a str,
    pub(super) account: &'a str,
    pub(super) role: &'a str,
    pub(super) session: &'a str,
}

/// Everything issued so far, and the instance role's current key.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    keys: HashMap<String, Arc<Issued>>,
    current: Option<String>,
    /// Whether the instance role's credentials stay the same whatever happens.
    pub(super) frozen: bool,
}

impl Keyring {
    /// The credentials behind an access key id.
    pub(super) fn find(&self, key_id: &str) -> Option<Arc<Issued>> {
        self.keys.get(key_id).cloned()
    }

    /// What IMDS serves now; `None` before anybody asked.
    pub(super) fn served(&self) -> Option<&Arc<Issued>> {
        self.keys.get(self.current.as_ref()?)
    }

    /// Issues credentials that live from `now` for `lifetime` milliseconds.
    pub(super) fn issue(&mut self, holder: &Holder<'_>, now: Millis, lifetime: i64) -> Arc<Issued> {
        let Holder { partition, account, role, session } = holder;
        let issued = Arc::new(Issued {
            key_id: format!("ASIA{}", letters(16, KEY_ID_LETTERS)),
            secret: letters(40, BASE64_LETTERS),
            token: format!("IQoJb3JpZ2luX2VjE{}==", letters(300, BASE64_LETTERS)),
            arn: format!("arn:{partition}:sts::{account}:assumed-role/{role}/{session}"),
            user_id: format!("{}:{session}", role_id(role)),
            account: (*account).to_string(),
            issued_at: now,
            expires_at: now.saturating_add(lifetime),
            revoked: false,
        });
        self.keys.insert(issued.key_id.clone(), Arc::clone(&issued));
        issued
    }

    /// What IMDS serves to whoever asks now: the current credentials, or others when they are due.
    pub(super) fn current(&mut self, holder: &Holder<'_>, now: Millis, lifetime: i64) -> Arc<Issued> {
        if let Some(current) = self.served() {
            let role = format!(":assumed-role/{}/", holder.role);
            let young = now - current.issued_at < lifetime / ROTATIONS_PER_LIFE && now < current.expires_at;
            if current.arn.contains(&role) && (self.frozen || young) {
                return Arc::clone(current);
            }
        }
        let issued = self.issue(holder, now, lifetime);
        self.current = Some(issued.key_id.clone());
        issued
    }

    /// IMDS issues others at the next request, frozen or not; the present ones stay valid until they expire.
    pub(super) fn rotate(&mut self) {
        self.current = None;
    }

    /// Ends the life of what IMDS serves: its `Expiration` is a second ago.
    pub(super) fn expire(&mut self, now: Millis) {
        self.change_served(|issued| issued.expires_at = now - 1000);
    }

    /// AWS's APIs refuse what IMDS serves as expired, while IMDS goes on serving it unchanged.
    pub(super) fn revoke(&mut self) {
        self.change_served(|issued| issued.revoked = true);
    }

    fn change_served(&mut self, change: impl FnOnce(&mut Issued)) {
        if let Some(issued) = self.current.as_ref().and_then(|key_id| self.keys.get_mut(key_id)) {
            change(Arc::make_mut(issued));
        }
    }
}

/// A role's unique id: the same for the same name, as long as the emulator's code stays the same.
pub(super) fn role_id(role: &str) -> String {
    let seed = role.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut random = fastrand::Rng::with_seed(seed);
    format!("AROA{}", pick(&mut random, 17, KEY_ID_LETTERS))
}

const KEY_ID_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// So many random letters. Good enough for credentials that open nothing.
fn letters(count: usize, alphabet: &[u8]) -> String {
    pick(&mut fastrand::Rng::new(), count, alphabet)
}

fn pick(random: &mut fastrand::Rng, count: usize, alphabet: &[u8]) -> String {
    (0..count).map(|_| char::from(alphabet[random.usize(..alphabet.len())])).collect()
}

/// A random IMDS token.
pub(super) fn imds_token() -> String {
    format!("AQAE{}==", letters(50, BASE64_LETTERS))
}

/// A random request id, in the form of a UUID.
pub(super) fn request_id() -> String {
    let random = format!("{:032x}", fastrand::u128(..));
    [&random[..8], &random[8..12], &random[12..16], &random[16..20], &random[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const LIFETIME: i64 = 6 * HOUR;
    const HOLDER: Holder<'_> = Holder { partition: "aws", account: "123456789012", role: "web", session: "i-1" };

    #[test]
    fn imds_serves_the_same_credentials_for_an_hour_and_then_others() {
        let mut keyring = Keyring::default();
        let first = keyring.current(&HOLDER, 0, LIFETIME);
        assert_eq!(keyring.current(&HOLDER, HOUR - 1, LIFETIME), first);
        let second = keyring.current(&HOLDER, HOUR, LIFETIME);
        assert_ne!(second.key_id, first.key_id);
        assert_eq!(second.expires_at, 7 * HOUR);
        assert_eq!(keyring.find(&first.key_id), Some(first), "the old ones are valid until they expire");
    }

    #[test]
    fn another_role_gets_other_credentials_at_once() {
        let mut keyring = Keyring { frozen: true, ..Keyring::default() };
        let web = keyring.current(&HOLDER, 0, LIFETIME);
        let api = keyring.current(&Holder { role: "api", ..HOLDER }, 1, LIFETIME);
        assert_ne!(web.key_id, api.key_id);
        assert_eq!(api.arn, "arn:aws:sts::123456789012:assumed-role/api/i-1");
    }

    #[test]
    fn frozen_credentials_are_served_even_expired_until_rotated() {
        let mut keyring = Keyring { frozen: true, ..Keyring::default() };
        let first = keyring.current(&HOLDER, 0, LIFETIME);
        keyring.expire(5_000);
        let expired = keyring.current(&HOLDER, 10 * HOUR, LIFETIME);
        assert_eq!((&expired.key_id, expired.expires_at), (&first.key_id, 4_000));
        keyring.rotate();
        assert_ne!(keyring.current(&HOLDER, 10 * HOUR, LIFETIME).key_id, first.key_id);
    }

    #[test]
    fn request_ids_look_like_uuids() {
        let lengths: Vec<_> = request_id().split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
    }
}
