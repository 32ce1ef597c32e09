//! The bucket: s3s-fs, with what it leaves out or does otherwise than S3.
//!
//! - Checksums are compared before anything is stored, those of parts too.
//! - Multipart uploads can be listed, and completing one again answers as the first time.
//! - Objects written in parts tell their checksum: of the whole object where that was asked for, else that of the
//!   parts'.
//! - Any storage class and encryption is taken, remembered and told. A bucket keeps lifecycle and cross-origin rules.
//! - Nothing makes a bucket but [`Bucket::new`]: s3s-fs would with the first object.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};

use s3s::auth::{S3Auth, SecretKey};
#[allow(clippy::wildcard_imports, reason = "the interface has two types for each of its methods")]
use s3s::dto::*;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use crate::checksums::{Announced, composite, difference, kind_of, same_kinds};
use crate::manner::Manner;

/// Keys of one call to delete many.
const DELETE_MAX: usize = 1000;

/// How an object was asked to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The header `x-amz-storage-class`.
    pub storage_class: Option<String>,
    /// The header `x-amz-server-side-encryption`.
    pub encryption: Option<String>,
    /// Which checksums came with it, as their headers are called.
    pub checksums: Vec<&'static str>,
}

/// One multipart upload.
#[derive(Debug, Default)]
struct Upload {
    key: String,
    stored: Stored,
    /// The kind of checksum that each part has to come with.
    kind: Option<&'static str>,
    /// The checksum announced at the end is that of the whole object.
    whole: bool,
    parts: BTreeMap<i32, Checksum>,
    /// The answer to its completion.
    completed: Option<CompleteMultipartUploadOutput>,
}

/// The bucket's folder and what is known beside the files. Clones share them.
#[derive(Clone)]
pub struct Bucket {
    files: Arc<FileSystem>,
    root: Arc<Path>,
    name: &'static str,
    manner: Manner,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    stored: HashMap<String, Stored>,
    uploads: HashMap<String, Upload>,
    /// Checksums of objects that were written in parts, as they are told.
    of_parts: HashMap<String, Checksum>,
    lifecycle: Option<LifecycleRules>,
    cors: Option<CORSRules>,
}

impl Bucket {
    /// A bucket of this name in the folder `root`.
    pub(crate) fn new(root: &Path, name: &'static str, manner: Manner) -> Self {
        std::fs::create_dir_all(root.join(name)).unwrap();
        let files = FileSystem::new(root).expect("the folder exists");
        Self { files: Arc::new(files), root: root.into(), name, manner, notes: Arc::default() }
    }

    /// Every object and its size.
    pub(crate) fn objects(&self) -> BTreeMap<String, u64> {
        let bucket = self.root.join(self.name);
        let (mut found, mut folders) = (BTreeMap::new(), vec![bucket.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let key = path.strip_prefix(&bucket).unwrap().to_str().unwrap().to_owned();
                // Deleted since it was listed: then it is not there.
                if let Ok(about) = path.metadata() {
                    found.insert(key, about.len());
                }
            }
        }
        found
    }

    /// Keys of multipart uploads that were begun and neither completed nor aborted.
    pub(crate) fn open_uploads(&self) -> Vec<String> {
        let notes = self.notes.lock().unwrap();
        let open = notes.uploads.values().filter(|upload| upload.completed.is_none());
        open.map(|upload| upload.key.clone()).collect()
    }

    /// Puts an object, as if somebody else had.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.root.join(self.name).join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Changes one bit of an object, as a bad disk does.
    pub(crate) fn damage(&self, key: &str) {
        let path = self.root.join(self.name).join(key);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }

    /// How an object was asked to be stored.
    pub(crate) fn stored(&self, key: &str) -> Option<Stored> {
        self.notes.lock().unwrap().stored.get(key).cloned()
    }

    /// The same where it was also stored so.
    fn told(&self, key: &str) -> Stored {
        self.stored(key).filter(|_| self.manner.keeps_what_puts_ask()).unwrap_or_default()
    }

    fn check_exists(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.name { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }
}

/// Knows one pair of keys.
pub(crate) struct Keys {
    pub(crate) id: &'static str,
    pub(crate) secret: &'static str,
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.id { Ok(self.secret.into()) } else { Err(s3_error!(InvalidAccessKeyId)) }
    }
}

macro_rules! checksums_of {
    ($input:expr) => {
        Checksum {
            checksum_crc32: $input.checksum_crc32.clone(),
            checksum_crc32c: $input.checksum_crc32c.clone(),
            checksum_crc64nvme: $input.checksum_crc64nvme.clone(),
            checksum_sha1: $input.checksum_sha1.clone(),
            checksum_sha256: $input.checksum_sha256.clone(),
            checksum_type: None,
        }
    };
}

/// What came with a put or a part.
macro_rules! announced {
    ($input:expr, $trailers:expr) => {
        Announced { before: checksums_of!($input), md5: $input.content_md5.clone(), after: $trailers.clone() }
    };
}

/// Tells the checksum of an object that was written in parts.
macro_rules! tell {
    ($output:expr, $sum:expr) => {
        $output.checksum_crc32.clone_from(&$sum.checksum_crc32);
        $output.checksum_crc32c.clone_from(&$sum.checksum_crc32c);
        $output.checksum_crc64nvme.clone_from(&$sum.checksum_crc64nvme);
        $output.checksum_type.clone_from(&$sum.checksum_type);
    };
}

/// The kind of this name, where it is told.
macro_rules! told {
    ($value:expr) => {
        $value.as_ref().map(|value| value.as_str().to_owned())
    };
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = &mut request.input;
        self.check_exists(&input.bucket)?;
        let announced = announced!(input, request.trailing_headers);
        let (bytes, _, checksums) = announced.check(input.body.take()).await?;
        input.body = Some(Body::from(bytes).into());
        let encryption = told!(input.server_side_encryption);
        let stored = Stored { storage_class: told!(input.storage_class.take()), encryption, checksums };
        let key = input.key.clone();
        let mut answer = self.files.put_object(request).await?;
        self.notes.lock().unwrap().stored.insert(key.clone(), stored);
        answer.output.server_side_encryption = self.told(&key).encryption.map(Into::into);
        Ok(answer)
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.check_exists(&request.input.bucket)?;
        let (key, range) = (request.input.key.clone(), request.input.range.is_some());
        let mut answer = self.files.get_object(request).await?;
        if let Some(sum) = self.notes.lock().unwrap().of_parts.get(&key).filter(|_| !range) {
            tell!(answer.output, sum);
        }
        Ok(answer)
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let (key, mode) = (request.input.key.clone(), request.input.checksum_mode.is_some());
        let mut answer = self.files.head_object(request).await?;
        let told = self.told(&key);
        answer.output.server_side_encryption = told.encryption.map(Into::into);
        // S3 says nothing of its standard class.
        let class = told.storage_class.filter(|class| class != StorageClass::STANDARD);
        answer.output.storage_class = class.map(Into::into);
        if let Some(sum) = self.notes.lock().unwrap().of_parts.get(&key).filter(|_| mode) {
            tell!(answer.output, sum);
        }
        Ok(answer)
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = &request.input;
        self.check_exists(&input.bucket)?;
        let encryption = told!(input.server_side_encryption);
        let stored = Stored { storage_class: told!(input.storage_class), encryption, checksums: Vec::new() };
        let key = input.key.clone();
        let answer = self.files.copy_object(request).await?;
        self.notes.lock().unwrap().stored.insert(key, stored);
        Ok(answer)
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let (id, number) = (request.input.upload_id.clone(), request.input.part_number);
        self.check_part(&id, &[])?;
        let answer = self.files.upload_part_copy(request).await?;
        if let Some(upload) = self.notes.lock().unwrap().uploads.get_mut(&id) {
            upload.parts.insert(number, Checksum::default());
        }
        Ok(answer)
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(request).await
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.check_exists(&request.input.bucket)?;
        if request.input.delete.objects.len() > DELETE_MAX {
            return Err(s3_error!(MalformedXML, "more than {DELETE_MAX} keys"));
        }
        self.files.delete_objects(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(request).await
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(request).await
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.files.get_bucket_location(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = &request.input;
        self.check_exists(&input.bucket)?;
        let encryption = told!(input.server_side_encryption);
        let stored = Stored { storage_class: told!(input.storage_class), encryption, checksums: Vec::new() };
        let whole =
            input.checksum_type.as_ref().is_some_and(|kind| kind.as_str() == ChecksumType::FULL_OBJECT);
        let kind = told!(input.checksum_algorithm).and_then(|algorithm| kind_of(&algorithm));
        let upload = Upload { key: input.key.clone(), stored, kind, whole, ..Upload::default() };
        let (algorithm, kind) = (input.checksum_algorithm.clone(), input.checksum_type.clone());
        let mut answer = self.files.create_multipart_upload(request).await?;
        answer.output.checksum_algorithm = algorithm;
        answer.output.checksum_type = kind;
        let id = answer.output.upload_id.clone().unwrap();
        self.notes.lock().unwrap().uploads.insert(id, upload);
        Ok(answer)
    }

    async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = &mut request.input;
        let (id, number) = (input.upload_id.clone(), input.part_number);
        let announced = announced!(input, request.trailing_headers);
        let (bytes, checksum, kinds) = announced.check(input.body.take()).await?;
        input.body = Some(Body::from(bytes).into());
        self.check_part(&id, &kinds)?;
        let mut answer = self.files.upload_part(request).await?;
        let output = &mut answer.output;
        output.checksum_crc32.clone_from(&checksum.checksum_crc32);
        output.checksum_crc32c.clone_from(&checksum.checksum_crc32c);
        output.checksum_crc64nvme.clone_from(&checksum.checksum_crc64nvme);
        output.checksum_sha1.clone_from(&checksum.checksum_sha1);
        output.checksum_sha256.clone_from(&checksum.checksum_sha256);
        let mut notes = self.notes.lock().unwrap();
        if let Some(upload) = notes.uploads.get_mut(&id) {
            upload.parts.insert(number, checksum);
            upload.stored.checksums = kinds;
        }
        Ok(answer)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (id, key) = (request.input.upload_id.clone(), request.input.key.clone());
        if let Some(answered) = self.check_completion(&request.input)? {
            return Ok(S3Response::new(answered));
        }
        let sum = self.sum_of(&request.input);
        let mut answer = self.files.complete_multipart_upload(request).await?;
        // s3s-fs gives its answer while the body is sent.
        if let Some(answering) = answer.output.future.take() {
            answer.output = answering.await?;
        }
        tell!(answer.output, sum);
        self.completed(&id, &key, sum, again(&answer.output)).await?;
        Ok(answer)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let id = request.input.upload_id.clone();
        self.check_open(&id)?;
        let answer = self.files.abort_multipart_upload(request).await?;
        self.notes.lock().unwrap().uploads.remove(&id);
        Ok(answer)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.check_exists(&request.input.bucket)?;
        let prefix = request.input.prefix.unwrap_or_default();
        let notes = self.notes.lock().unwrap();
        let open = notes.uploads.iter().filter(|(_, upload)| upload.completed.is_none());
        let uploads =
            open.filter(|(_, upload)| upload.key.starts_with(&prefix)).map(|(id, upload)| MultipartUpload {
                key: Some(upload.key.clone()),
                upload_id: Some(id.clone()),
                ..Default::default()
            });
        let uploads = Some(uploads.collect());
        let bucket = Some(request.input.bucket);
        Ok(S3Response::new(ListMultipartUploadsOutput { bucket, uploads, ..Default::default() }))
    }

    async fn get_bucket_lifecycle_configuration(
        &self,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        self.check_exists(&request.input.bucket)?;
        let rules = self.notes.lock().unwrap().lifecycle.clone();
        if rules.is_none() {
            return Err(s3_error!(NoSuchLifecycleConfiguration));
        }
        Ok(S3Response::new(GetBucketLifecycleConfigurationOutput { rules, ..Default::default() }))
    }

    async fn put_bucket_lifecycle_configuration(
        &self,
        request: S3Request<PutBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
        self.check_exists(&request.input.bucket)?;
        let configuration = request.input.lifecycle_configuration.ok_or_else(|| s3_error!(MalformedXML))?;
        self.notes.lock().unwrap().lifecycle = Some(self.manner.kept(configuration.rules));
        Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
    }

    async fn delete_bucket_lifecycle(
        &self,
        request: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        self.check_exists(&request.input.bucket)?;
        self.notes.lock().unwrap().lifecycle = None;
        Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
    }

    async fn get_bucket_cors(
        &self,
        request: S3Request<GetBucketCorsInput>,
    ) -> S3Result<S3Response<GetBucketCorsOutput>> {
        self.check_exists(&request.input.bucket)?;
        let cors_rules = self.notes.lock().unwrap().cors.clone();
        if cors_rules.is_none() {
            return Err(s3_error!(NoSuchCORSConfiguration));
        }
        Ok(S3Response::new(GetBucketCorsOutput { cors_rules }))
    }

    async fn put_bucket_cors(
        &self,
        request: S3Request<PutBucketCorsInput>,
    ) -> S3Result<S3Response<PutBucketCorsOutput>> {
        self.check_exists(&request.input.bucket)?;
        let rules = request.input.cors_configuration.cors_rules;
        if rules.is_empty() {
            return Err(s3_error!(MalformedXML, "no rule"));
        }
        self.notes.lock().unwrap().cors = Some(rules);
        Ok(S3Response::new(PutBucketCorsOutput::default()))
    }

    async fn delete_bucket_cors(
        &self,
        request: S3Request<DeleteBucketCorsInput>,
    ) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
        self.check_exists(&request.input.bucket)?;
        self.notes.lock().unwrap().cors = None;
        Ok(S3Response::new(DeleteBucketCorsOutput::default()))
    }
}

impl Bucket {
    fn check_open(&self, id: &str) -> S3Result<()> {
        let notes = self.notes.lock().unwrap();
        match notes.uploads.get(id) {
            Some(upload) if upload.completed.is_none() => Ok(()),
            _ => Err(s3_error!(NoSuchUpload)),
        }
    }

    /// A part has the checksum that was announced with the upload, and no other (S3's words: "Checksum Type mismatch
    /// occurred").
    fn check_part(&self, id: &str, kinds: &[&'static str]) -> S3Result<()> {
        self.check_open(id)?;
        let expected = self.notes.lock().unwrap().uploads.get(id).and_then(|upload| upload.kind);
        let came = kinds.iter().copied().find(|kind| *kind != "content-md5");
        if came == expected {
            return Ok(());
        }
        let (expected, came) = (expected.unwrap_or("null"), came.unwrap_or("null"));
        Err(s3_error!(InvalidRequest, "Checksum Type mismatch occurred, expected {expected}, actual {came}"))
    }

    /// The answer of an earlier completion, if there was one; an error where a part is not what was uploaded.
    fn check_completion(
        &self,
        input: &CompleteMultipartUploadInput,
    ) -> S3Result<Option<CompleteMultipartUploadOutput>> {
        let notes = self.notes.lock().unwrap();
        let upload = notes.uploads.get(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        if let Some(answered) = &upload.completed {
            return Ok(Some(again(answered)));
        }
        for part in input.multipart_upload.iter().flat_map(|upload| upload.parts.iter().flatten()) {
            let number = part.part_number.unwrap_or_default();
            let uploaded =
                upload.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart, "no part {number}"))?;
            let named = checksums_of!(part);
            if let Some(name) = difference(&named, uploaded) {
                return Err(s3_error!(InvalidPart, "{name} of part {number} is another"));
            }
            if !upload.whole && difference(uploaded, &named).is_some() {
                return Err(s3_error!(InvalidRequest, "the checksum of part {number} is missing"));
            }
        }
        Ok(None)
    }

    /// The checksum of the object that this makes: as announced, where it was to be of the whole, else of the parts'.
    fn sum_of(&self, input: &CompleteMultipartUploadInput) -> Checksum {
        let notes = self.notes.lock().unwrap();
        let upload = &notes.uploads[&input.upload_id];
        if upload.whole {
            let kind = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
            return Checksum { checksum_type: kind, ..checksums_of!(input) };
        }
        let named = input.multipart_upload.iter().flat_map(|upload| upload.parts.iter().flatten());
        let parts = named.filter_map(|part| upload.parts.get(&part.part_number?));
        let checksum_crc32c = composite(parts);
        let kind = checksum_crc32c.as_ref().map(|_| ChecksumType::from_static(ChecksumType::COMPOSITE));
        Checksum { checksum_crc32c, checksum_type: kind, ..Checksum::default() }
    }

    async fn completed(
        &self,
        id: &str,
        key: &str,
        sum: Checksum,
        output: CompleteMultipartUploadOutput,
    ) -> S3Result<()> {
        let path = self.root.join(self.name).join(key);
        let bytes = tokio::fs::read(&path).await.map_err(|error| s3_error!(InternalError, "{error}"))?;
        let mut notes = self.notes.lock().unwrap();
        let Some(upload) = notes.uploads.get_mut(id) else { return Ok(()) };
        upload.completed = Some(output);
        let (stored, whole) = (upload.stored.clone(), upload.whole);
        notes.stored.insert(key.to_owned(), stored);
        if whole && let Some(name) = difference(&sum, &same_kinds(&sum, &bytes)) {
            std::fs::remove_file(&path).map_err(|error| s3_error!(InternalError, "{error}"))?;
            return Err(s3_error!(BadDigest, "{name} is not the object's"));
        }
        notes.of_parts.insert(key.to_owned(), sum);
        Ok(())
    }
}

/// What is answered to a completion, without what cannot be copied.
fn again(output: &CompleteMultipartUploadOutput) -> CompleteMultipartUploadOutput {
    CompleteMultipartUploadOutput {
        bucket: output.bucket.clone(),
        key: output.key.clone(),
        e_tag: output.e_tag.clone(),
        checksum_crc32: output.checksum_crc32.clone(),
        checksum_crc32c: output.checksum_crc32c.clone(),
        checksum_crc64nvme: output.checksum_crc64nvme.clone(),
        checksum_type: output.checksum_type.clone(),
        ..Default::default()
    }
}
