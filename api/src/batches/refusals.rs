//! Files of which no photo is made, noted in the batch that their upload names.

use darkroom_store::model::batches::{self, Refusal};
use darkroom_store::model::photos::Failure;
use darkroom_store::model::{BatchId, ItemId, OwnerId, Timestamp, file_name};

use crate::Api;
use crate::problem::Problem;

/// A file that was refused.
#[derive(Clone, Debug)]
pub struct RefusedFile {
    /// The batch that its upload named.
    pub batch: Option<BatchId>,
    /// The same each time that one upload is found to be refused.
    pub item: ItemId,
    /// Its name.
    pub name: Option<String>,
    /// Its size, where that is known.
    pub bytes: Option<u64>,
}

/// Whether it is the file that is refused, for good: what only went wrong on its way is no outcome.
fn is_of_the_file(problem: &Problem) -> bool {
    problem.is_refusal() || problem.is("body-too-large")
}

/// Notes that a file was refused, if it was for good. Whoever sent it is told why in any case: what goes wrong here goes
/// to the log.
pub async fn note(api: &Api, owner: &OwnerId, file: RefusedFile, problem: &Problem) {
    let Some(batch) = file.batch.filter(|_| is_of_the_file(problem)) else { return };
    let options = api.pipeline().options();
    let refusal = &Refusal {
        batch,
        owner: owner.clone(),
        item: file.item,
        name: file.name.and_then(|name| file_name::tidied(&name, options.name_bytes_max)),
        bytes: file.bytes,
        problem: Failure { code: problem.code().to_owned(), detail: problem.detail.clone() },
        now: Timestamp::now(),
        kept_max: options.refused_kept_max,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_file_is_noted() {
        let noted = |code: &str| is_of_the_file(&Problem::new(code, "why"));
        for code in ["unsupported-image", "truncated-image", "type-mismatch", "body-too-large", "empty-image"]
        {
            assert!(noted(code), "{code}");
        }
        for code in ["body-incomplete", "body-timeout", "overloaded", "digest-mismatch", "batch-closed"] {
            assert!(!noted(code), "{code}");
        }
    }
}
