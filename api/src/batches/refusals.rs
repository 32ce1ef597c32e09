//! Files of which no photo is made, noted in the batch that their upload names.

use darkroom_store::model::batches::{self, Refusal};
use darkroom_store::model::photos::Failure;
use darkroom_store::model::{BatchId, ItemId, Timestamp};

use crate::Api;
use crate::caller::Caller;
use crate::problem::Problem;

/// Bytes of a problem's sentence that an item keeps.
const DETAIL_BYTES_MAX: usize = 1000;

/// What is wrong with an upload rather than with its file: the same file, sent again, may well become a photo.
const OF_THE_UPLOAD: &[&str] = &[
    "body-incomplete",
    "body-timeout",
    "multipart-malformed",
    "batch-not-found",
    "batch-closed",
    "batch-cancelled",
    "invalid-parameter",
    "unknown-field",
    "digest-malformed",
    "digest-mismatch",
    "digest-unsupported",
    "content-encoding-unsupported",
    "idempotency-key-malformed",
    "idempotency-key-reused",
    "request-in-progress",
    "too-many-idempotency-keys",
];

/// Whether it is the file that is refused, for good.
fn is_of_the_file(problem: &Problem) -> bool {
    let passing = [408, 409, 429].contains(&problem.status) || problem.status >= 500;
    !passing && !OF_THE_UPLOAD.iter().any(|code| problem.is(code))
}

/// Notes that a file was refused, if it was for good. Whoever sent it is told why in any case: what goes wrong here goes
/// to the log.
pub async fn note(
    api: &Api,
    caller: &Caller,
    batch: Option<BatchId>,
    name: Option<String>,
    problem: &Problem,
) {
    let Some(batch) = batch.filter(|_| is_of_the_file(problem)) else { return };
    let options = &api.options().batches;
    let refusal = &Refusal {
        batch,
        owner: caller.owner.clone(),
        item: ItemId::new(),
        name: name.map(|name| shortened(name, options.name_bytes_max)),
        bytes: None,
        problem: Failure {
            code: problem.code().to_owned(),
            detail: shortened(problem.detail.clone(), DETAIL_BYTES_MAX),
        },
        now: Timestamp::now(),
        kept_max: options.refused_max,
    };
    let noted = api
        .pipeline()
        .metadata()
        .transact("note refused file", |tx| async move { batches::refused(&tx, refusal).await })
        .await;
    match noted {
        Ok(Ok(())) => {}
        Ok(Err(why)) => tracing::debug!(%batch, %why, "a refused file is not noted"),
        Err(error) => tracing::warn!(%batch, %error, "a refused file could not be noted in its batch"),
    }
}

/// The first characters that have at most so many bytes.
pub fn shortened(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::KINDS;

    #[test]
    fn only_what_is_wrong_with_the_file_is_noted() {
        let noted = |code: &str| is_of_the_file(&Problem::new(code, "why"));
        for code in ["unsupported-image", "truncated-image", "type-mismatch", "body-too-large", "empty-image"]
        {
            assert!(noted(code), "{code}");
        }
        for code in ["body-incomplete", "body-timeout", "overloaded", "store-unavailable", "batch-cancelled"]
        {
            assert!(!noted(code), "{code}");
        }
        let known = |code: &&&str| KINDS.iter().any(|(known, ..)| *known == **code);
        assert_eq!(OF_THE_UPLOAD.iter().filter(known).count(), OF_THE_UPLOAD.len());
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(shortened("größe".to_owned(), 4), "grö");
        assert_eq!(shortened("größe".to_owned(), 3), "gr");
        assert_eq!(shortened("a".to_owned(), 9), "a");
    }
}
