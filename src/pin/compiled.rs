//! The recipients pinned when the program was built. Uses nothing else of this crate, so that a test can compile it alone,
//! with another environment.

/// The environment variable `VMCORE_ENCRYPT_PIN` of the build: fingerprints, separated by commas.
pub(super) const COMPILED: Option<&str> = option_env!("VMCORE_ENCRYPT_PIN");
