//! What messages about a bucket say, in the shapes that S3 servers and Amazon's services give them.
//!
//! - Amazon S3 and MinIO: `{"Records": [{"eventName", "s3": {"bucket": {"name"}, "object": {"key"}}}]}`. The key is
//!   encoded as in a form: a space is `+` ("Event message structure", Amazon S3 user guide). Of deliveries that are set
//!   up there is one message `{"Event": "s3:TestEvent"}`.
//! - EventBridge: `{"detail-type": "Object Created", "detail": {"bucket": {"name"}, "object": {"key"}}}`. The key is as
//!   it is.
//! - SNS, where a queue has its messages: `{"Type": "Notification", "Message": "…"}` around one of these.

use serde::Deserialize;
use serde_json::Value;

use crate::problem::Problem;

/// Events that one message may have: S3 sends one, others a few.
const EVENTS_MAX: usize = 1000;

/// An object is said to have been created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The bucket's name.
    pub bucket: String,
    /// The object's.
    pub name: String,
}

#[derive(Deserialize)]
struct Records {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventName", default)]
    event: String,
    s3: Place,
}

#[derive(Deserialize)]
struct Place {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
}

/// The objects that a message says were created; none where it is of something else.
///
/// # Errors
/// `invalid-json`, where it is no such message.
pub fn read(message: &[u8]) -> Result<Vec<Created>, Problem> {
    let malformed = |error: serde_json::Error| {
        Problem::new("invalid-json", format!("the message is not what S3 servers send: {error}"))
    };
    let message: Value = serde_json::from_slice(message).map_err(malformed)?;
    if let Some(inner) =
        message.get("Message").and_then(Value::as_str).filter(|_| message.get("Type").is_some())
    {
        return read(inner.as_bytes());
    }
    if message.get("Event").is_some_and(|event| event == "s3:TestEvent") {
        return Ok(Vec::new());
    }
    if let Some(kind) = message.get("detail-type") {
        if kind != "Object Created" {
            return Ok(Vec::new());
        }
        let place: Place = serde_json::from_value(message["detail"].clone()).map_err(malformed)?;
        return Ok(vec![Created { bucket: place.bucket.name, name: place.object.key }]);
    }
    let Records { records } = serde_json::from_value(message).map_err(malformed)?;
    if records.len() > EVENTS_MAX {
        let detail =
            format!("the message has {} events, and at most {EVENTS_MAX} are taken at once", records.len());
        return Err(Problem::new("invalid-json", detail));
    }
    let created = records.into_iter().filter(|record| is_creation(&record.event));
    Ok(created
        .map(|record| Created { bucket: record.s3.bucket.name, name: decode(&record.s3.object.key) })
        .collect())
}

/// S3 says `ObjectCreated:Put`, MinIO `s3:ObjectCreated:Put`.
fn is_creation(event: &str) -> bool {
    event.strip_prefix("s3:").unwrap_or(event).starts_with("ObjectCreated:")
}

/// A name that is encoded as in a form.
fn decode(key: &str) -> String {
    // As if it were a form with one field, which has no name: `&` and `=` are encoded in a key.
    let field = format!("={key}");
    form_urlencoded::parse(field.as_bytes()).next().map_or_else(String::new, |(_, key)| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(message: &str) -> Vec<String> {
        let created = read(message.as_bytes()).unwrap();
        assert!(created.iter().all(|created| created.bucket == "b"));
        created.into_iter().map(|created| created.name).collect()
    }

    fn record(event: &str, key: &str) -> String {
        format!(
            r#"{{"eventName":"{event}","s3":{{"bucket":{{"name":"b"}},"object":{{"key":"{key}","size":3}}}}}}"#
        )
    }

    #[test]
    fn the_events_of_s3_and_minio_name_what_was_created() {
        let records = [
            record("ObjectCreated:Put", "in/a+b%2Bc%26d%3D.jpg"),
            record("s3:ObjectCreated:CompleteMultipartUpload", "in/%C3%A4.jpg"),
            record("ObjectRemoved:Delete", "in/x"),
        ];
        let message = format!(
            r#"{{"EventName":"s3:ObjectCreated:Put","Key":"b/x","Records":[{}]}}"#,
            records.join(",")
        );
        assert_eq!(names(&message), ["in/a b+c&d=.jpg", "in/ä.jpg"]);
    }

    #[test]
    fn an_event_in_a_message_of_sns_is_found_and_one_of_eventbridge_is_not_decoded() {
        let inner = format!(r#"{{"Records":[{}]}}"#, record("ObjectCreated:Post", "k"));
        let message = serde_json::json!({"Type": "Notification", "Message": inner}).to_string();
        assert_eq!(names(&message), ["k"]);
        let bridge =
            r#"{"detail-type":"Object Created","detail":{"bucket":{"name":"b"},"object":{"key":"a+b"}}}"#;
        assert_eq!(names(bridge), ["a+b"]);
        assert!(names(r#"{"detail-type":"Object Deleted","detail":{}}"#).is_empty());
    }

    #[test]
    fn a_test_event_is_taken_and_nonsense_is_not() {
        assert!(names(r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#).is_empty());
        for nonsense in
            ["", "[]", "{}", r#"{"Records":[{}]}"#, r#"{"Type":"Notification","Message":"hello"}"#]
        {
            assert!(read(nonsense.as_bytes()).unwrap_err().is("invalid-json"), "{nonsense}");
        }
    }
}
