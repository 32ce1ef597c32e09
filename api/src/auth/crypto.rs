//! The signatures of tokens, by ring: RS256, ES256 and EdDSA are verified, EdDSA is made.
//!
//! jsonwebtoken takes its cryptography from a provider. Those that it brings need a crate with an advisory that has no
//! remedy (RUSTSEC-2023-0071 in rsa), or cmake; ring is in the tree for TLS anyway.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// Makes and verifies signatures.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has jsonwebtoken use ring, in the whole process. To be called before it is used; what comes later does nothing.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if RING.install_default().is_err() {
            // Nothing else in this program uses jsonwebtoken.
            tracing::error!("tokens are verified by another cryptography than ring's");
        }
    });
}

/// An Ed25519 key, made of its 32-byte seed, as [`EncodingKey`] holds it.
struct Ed25519Signer(Ed25519KeyPair);

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "jsonwebtoken wants it so")]
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    if *algorithm != Algorithm::EdDSA || key.family() != AlgorithmFamily::Ed {
        return Err(new_error(ErrorKind::UnsupportedAlgorithm));
    }
    let pair = Ed25519KeyPair::from_seed_unchecked(key.as_bytes());
    Ok(Box::new(Ed25519Signer(pair.map_err(|_| new_error(ErrorKind::InvalidEddsaKey))?)))
}

/// A public key with the one algorithm that it verifies.
enum PublicKey {
    /// A point, or Ed25519's 32 bytes.
    Bytes(UnparsedPublicKey<Vec<u8>>),
    /// Modulus and exponent.
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
}

struct RingVerifier {
    algorithm: Algorithm,
    key: PublicKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match &self.key {
            PublicKey::Bytes(key) => key.verify(message, signature),
            // ring refuses keys below 2048 bits.
            PublicKey::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "jsonwebtoken wants it so")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let bytes = |verifies: &'static dyn VerificationAlgorithm| -> Result<PublicKey> {
        Ok(PublicKey::Bytes(UnparsedPublicKey::new(verifies, key.try_get_as_bytes()?.to_vec())))
    };
    // The key's family comes from where the key does, the algorithm may come from a token: only both together mean
    // anything.
    let key = match (algorithm, key.family(), key.kind()) {
        (Algorithm::EdDSA, AlgorithmFamily::Ed, _) => bytes(&ED25519)?,
        (Algorithm::ES256, AlgorithmFamily::Ec, _) => bytes(&ECDSA_P256_SHA256_FIXED)?,
        (Algorithm::RS256, AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            PublicKey::Rsa(RsaPublicKeyComponents { n: n.clone(), e: e.clone() })
        }
        _ => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key }))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::crypto::{sign, verify};
    use ring::signature::KeyPair;

    use super::*;

    #[test]
    fn what_is_signed_is_verified_as_rfc_8037_has_it() {
        install();
        // RFC 8037, appendix A.
        let decode = |text: &str| {
            use base64::Engine;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
        };
        let seed = decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        let public = decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let expected =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let key = EncodingKey::from_ed_der(&seed);
        assert_eq!(sign(message, &key, Algorithm::EdDSA).unwrap(), expected);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        assert_eq!(pair.public_key().as_ref(), &public[..]);
        let public = DecodingKey::from_ed_der(&public);
        assert!(verify(expected, message, &public, Algorithm::EdDSA).unwrap());
        assert!(!verify(expected, b"other", &public, Algorithm::EdDSA).unwrap());
    }

    #[test]
    fn a_key_verifies_nothing_but_its_own_algorithm() {
        install();
        let ed = DecodingKey::from_ed_der(&[7; 32]);
        let rsa = DecodingKey::from_rsa_raw_components(&[255; 256], &[1, 0, 1]);
        let ec = DecodingKey::from_ec_der(&[4; 65]);
        let secret = DecodingKey::from_secret(&[7; 32]);
        for (key, own) in [(&ed, Algorithm::EdDSA), (&rsa, Algorithm::RS256), (&ec, Algorithm::ES256)] {
            for algorithm in [
                Algorithm::HS256,
                Algorithm::HS512,
                Algorithm::RS256,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::ES256,
                Algorithm::ES384,
                Algorithm::EdDSA,
            ] {
                assert_eq!(verifier(&algorithm, key).is_ok(), algorithm == own, "{algorithm:?} of {own:?}");
                assert!(verifier(&algorithm, &secret).is_err(), "{algorithm:?}");
            }
        }
    }
}
