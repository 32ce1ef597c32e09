//! Who is who: tokens, the keys that they are signed with, identity providers, and links that open without a session.
//!
//! In the order in which a request meets them:
//!
//! - [`tokens`]: the access tokens of this daemon, made and checked.
//! - [`oidc`]: those of outside identity providers.
//! - [`signed_urls`]: links to a photo that open for whoever has them.
//! - [`keyring`]: the keys that this node signs with and verifies by. [`jwks`]: the public ones, for others.
//! - [`jws`]: how a token is written (RFC 7515), within bounds, and what can be wrong with one. `crypto`: its
//!   signatures.
//! - [`kept`]: what is loaded from elsewhere and kept, with limits on how often. [`clock`]: the times by which all of
//!   this goes.

pub mod clock;
mod crypto;
pub mod jwks;
pub mod jws;
pub mod kept;
pub mod keyring;
pub mod oidc;
pub mod signed_urls;
pub mod tokens;
