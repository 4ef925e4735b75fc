//! What can go wrong in this room, as values with a sentence and, where one helps, a hint.
//! No message holds secret bytes or the text of a rejected line.

use super::header::MAX_HEADER;
use crate::text::one_line;
use std::io;
use std::time::Duration;

/// What to do about a byte order mark.
const WITHOUT_MARK: &str = "save the file as UTF-8 without a byte order mark";

/// Everything but payload errors, which are [`super::stream::StreamError`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed underneath.
    #[error("{0}")]
    Io(#[from] io::Error),

    /// The first line is not age's.
    #[error("not an age file")]
    NotAge,
    /// An age file of a version this program does not know.
    #[error("an age file of an unsupported version")]
    UnsupportedVersion,
    /// The header breaks age's grammar.
    #[error("corrupt age header, line {line}: {what}")]
    Header {
        /// Line of the header, from 1.
        line: usize,
        /// The rule it breaks.
        what: &'static str,
    },
    /// The header does not end within [`MAX_HEADER`] bytes.
    #[error("age header is longer than {MAX_HEADER} bytes")]
    HeaderTooLong,
    /// The input ended inside the header or the nonce after it.
    #[error("truncated inside the age header")]
    HeaderTruncated,
    /// A file key was unwrapped, but the header's MAC does not match it.
    #[error("corrupt age header: its MAC does not match")]
    BadMac,

    /// One line of a recipients file.
    #[error("line {line} {cause}")]
    RecipientLine {
        /// Line of the file, from 1.
        line: usize,
        /// What is wrong with it.
        cause: RecipientError,
    },
    /// The recipients' stanzas make a header that no reader takes.
    #[error("the header for these recipients takes {bytes} bytes, more than {MAX_HEADER}")]
    TooManyRecipients {
        /// Length of the header.
        bytes: usize,
    },
    /// Not one recipient.
    #[error("no recipient")]
    NoRecipients,
    /// age's mixing rule: recipients that resist quantum computers and those that do not.
    #[error("post-quantum recipient {postquantum} and classic recipient {classic} cannot share a file")]
    MixedRecipients {
        /// Kind of one post-quantum recipient.
        postquantum: String,
        /// Kind of one classic recipient.
        classic: String,
    },
    /// A recipient (or an identity) needs a plugin program that is not in `$PATH`.
    #[error("plugin program \"{program}\" is not found")]
    PluginMissing {
        /// Name of the program.
        program: String,
    },
    /// A plugin program did not finish in time and was killed.
    #[error("plugin program \"{program}\" did not answer within {} s and was ended", .limit.as_secs_f32())]
    PluginSilent {
        /// Name of the program.
        program: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A plugin program failed or refused.
    #[error("plugin: {message}")]
    Plugin {
        /// Its own words, made printable.
        message: String,
    },
    /// Wrapping the file key to a recipient failed.
    #[error("wrapping the file key to recipient {kind}: {message}")]
    Wrap {
        /// Kind of the recipient.
        kind: String,
        /// The cause.
        message: String,
    },
    /// The kernel's random number generator was not ready in time.
    #[error("the kernel's random number generator is not ready after {} s", .0.as_secs())]
    NoEntropy(Duration),

    /// A line of an identity file is no identity.
    #[error("line {line} is not an identity")]
    NotAnIdentity {
        /// Line of the file, from 1.
        line: usize,
    },
    /// A line of an identity file was an identity: its checksum is wrong.
    #[error("line {line} is not an identity: its checksum is wrong")]
    ChangedIdentity {
        /// Line of the file, from 1.
        line: usize,
    },
    /// A line of an identity file is the public half.
    #[error("line {line} is a recipient, not an identity")]
    RecipientForIdentity {
        /// Line of the file, from 1.
        line: usize,
    },
    /// An identity file begins with the mark that editors on Windows put before a text.
    #[error("it begins with a byte order mark")]
    ByteOrderMark,
    /// An identity file without identities.
    #[error("no identity in it")]
    NoIdentities,
    /// An ssh private key that cannot be used, with the reason.
    #[error("unusable ssh private key: {0}")]
    UnusableSshKey(String),
    /// The identity file is an age file for something other than a passphrase.
    #[error("an encrypted identity file must be encrypted with a passphrase alone")]
    IdentityNotPassphrase,
    /// A passphrase was needed and none was given.
    #[error("a passphrase is needed")]
    NoPassphrase,
    /// The passphrase given does not open the identity or the file.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// A passphrase stanza asks for more work than accepted.
    #[error("scrypt work factor 2^{required} is above the accepted 2^{accepted}")]
    ExcessiveWork {
        /// log2 of the work asked for.
        required: u8,
        /// log2 of the most work accepted.
        accepted: u8,
    },
    /// No identity opens the file.
    #[error("no identity matches, the file is for {}", list(.stanzas))]
    NoMatch {
        /// Types of the header's stanzas, in order.
        stanzas: Vec<String>,
    },
    /// A stanza for one of the identities is there, but opening it fails.
    #[error("a stanza for one of the identities is corrupt: {0}")]
    BadStanza(String),
}

impl Error {
    /// What the user can do about it, where that is known: one line, lower case.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::RecipientLine { cause, .. } => return cause.hint(),
            Error::NoRecipients => "one recipient per line: age1..., ssh-ed25519 ..., ssh-rsa ...",
            Error::MixedRecipients { .. } => {
                "use only age1pq1... and age1tagpq1... recipients, or none of them"
            }
            Error::PluginMissing { .. } => {
                "install the plugin, also into the kdump image, or use another recipient"
            }
            Error::PluginSilent { .. } | Error::Plugin { .. } => {
                "run the plugin by hand with age, or use another recipient"
            }
            Error::NoEntropy(_) => {
                "give the machine an entropy source: virtio-rng, a hardware generator, RDRAND"
            }
            Error::NoMatch { .. } => "use the identity that belongs to one of the file's recipients",
            Error::BadStanza(_) | Error::Header { .. } => {
                "the header was changed after it was written; get another copy"
            }
            Error::UnsupportedVersion => {
                "this program reads age-encryption.org/v1; any other version is newer, or damage"
            }
            Error::ChangedIdentity { .. } => {
                "a letter was changed or lost: take the file from where it was copied"
            }
            Error::RecipientForIdentity { .. } => {
                "name the file of the identity (AGE-SECRET-KEY-..., an ssh private key) that belongs to it"
            }
            Error::ByteOrderMark => WITHOUT_MARK,
            Error::HeaderTooLong => "no program of ours wrote this header; get another copy",
            Error::TooManyRecipients { .. } => {
                "use fewer recipients: a post-quantum one takes 1.6 kB of the header, any other 0.1 to 0.8 kB"
            }
            Error::HeaderTruncated => "the collector or its link died early; nothing can be restored",
            Error::BadMac => "the header was changed after encryption, or belongs to another file",
            Error::NotAge => "a dump of vmcore-encrypt begins with age-encryption.org/v1",
            _ => return None,
        })
    }
}

/// Why a text is no recipient. Reads as the end of "line 3 ...".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// Not a recipient of any known form.
    #[error("is not a recipient")]
    NotARecipient,
    /// It has a recipient's form, and its letters do not fit together.
    #[error("is not a recipient: its checksum is wrong")]
    Checksum,
    /// The secret half of a key.
    #[error("is a private key, which must not be on this machine")]
    PrivateKey,
    /// A key whose every file anybody can open.
    #[error("is a recipient without security (a point of low order)")]
    WeakKey,
    /// An ssh public key of a type age cannot encrypt to.
    #[error("is an ssh key of unsupported type {0}")]
    UnsupportedSshKey(String),
    /// An RSA key of a size outside 2048 to 4096 bits.
    #[error("is an ssh-rsa key of {0} bits, outside 2048 to 4096")]
    RsaSize(u64),
    /// Not UTF-8.
    #[error("is not text")]
    NotText,
    /// The mark that editors on Windows put before a text.
    #[error("begins with a byte order mark")]
    ByteOrderMark,
}

impl RecipientError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            RecipientError::NotARecipient | RecipientError::NotText => {
                "one recipient per line; if this is an identity, remove it from this machine"
            }
            RecipientError::Checksum => "a letter was changed or lost: copy the recipient again",
            RecipientError::PrivateKey => {
                "put the recipient (age1..., or the .pub file of an ssh key) there, move the private key away, \
                 and consider it exposed if this file was ever in an image"
            }
            RecipientError::UnsupportedSshKey(_) | RecipientError::RsaSize(_) => {
                "use an age1... recipient, ssh-ed25519, or ssh-rsa with 2048 to 4096 bits"
            }
            RecipientError::ByteOrderMark => WITHOUT_MARK,
            RecipientError::WeakKey => "the recipient is corrupt or hostile: ask its owner for it again",
        })
    }
}

fn list(stanzas: &[String]) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in stanzas.iter().map(|name| one_line(name)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanza_types_are_named_once() {
        let stanzas = ["X25519", "ssh-rsa", "X25519"].map(String::from).to_vec();
        let error = Error::NoMatch { stanzas };
        assert_eq!(error.to_string(), "no identity matches, the file is for X25519, ssh-rsa");
    }
}
