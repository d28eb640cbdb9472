//! What a killed run needs to go on: which attempts ended how, and where those stand that have not.
//!
//! `journal.bin` grows by a record whenever an attempt ends, each with its checksum: what a crash left half
//! written at the end is dropped. `slots.safetensors` is replaced as a whole now and then; attempts that it holds go on from there, whatever
//! happened since: an attempt is a function of its sample, not of when it ran.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use engine::{Error, Result, Tensor};
use models::tensor_file;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::slots::Attempt;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// Number of the stage.
    pub stage: u32,
    /// Position in the data set.
    pub index: u64,
    /// Number of the attempt.
    pub attempt: u32,
    /// The perturbation that fools, where there is one.
    pub delta: Option<Vec<f32>>,
    /// Forward and backward passes that the sample took.
    pub passes: [u64; 2],
}

/// Attempts under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Meta {
    stage: u32,
    /// Replays since the batch began.
    replays: u32,
    /// (position, number of the attempt, passes, passes back).
    attempts: Vec<(usize, u32, u64, u64)>,
}

/// Attempts as they were saved.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Saved {
    pub stage: u32,
    pub replays: u32,
    pub attempts: Vec<Attempt>,
}

/// The folder in which a run keeps its state.
pub(super) struct Journal {
    folder: PathBuf,
    file: File,
}

const KEY: &str = "vitrum_attack";
/// What rows and progress of attempts mean, and how records lie in the journal: counted up with every change of either.
const FORMAT: u32 = 2;

fn slots_file(folder: &Path) -> PathBuf {
    folder.join("slots.safetensors")
}

impl Journal {
    /// Opens the state in `folder` of the run that `run` describes, and gives what is in it.
    ///
    /// # Errors
    /// The folder holds the state of another run or of another version, or can't be used.
    pub fn open(folder: &Path, run: &Value) -> Result<(Self, Vec<Record>, Option<Saved>)> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", &error))?;
        let about = folder.join("about.json");
        let fingerprint = format!("{:#}", serde_json::json!({ "format": FORMAT, "run": run }));
        match std::fs::read_to_string(&about) {
            Ok(text) if text == fingerprint => {}
            Ok(_) => {
                return Err(Error::new(folder.display().to_string(), "holds the state of another run")
                    .with("about", about.display())
                    .with("format here", FORMAT)
                    .help(
                        "the same version, attack, weights, data and seed continue it; else give another --state, or delete it",
                    ));
            }
            Err(_) => engine::fs::write_atomic(&about, |file| file.write_all(fingerprint.as_bytes()))?,
        }
        let path = folder.join("journal.bin");
        let failed = |what: &'static str| {
            let path = path.clone();
            move |error: std::io::Error| Error::io(&path, what, &error)
        };
        let mut bytes = Vec::new();
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(&path).map_err(failed("open"))?;
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        let (records, whole) = parse(&bytes);
        if whole < bytes.len() {
            let length = u64::try_from(whole).unwrap_or(0);
            file.set_len(length).map_err(failed("shorten"))?;
        }
        let saved = read_slots(folder)?;
        Ok((Self { folder: folder.to_owned(), file }, records, saved))
    }

    /// Adds records, on disk when this returns.
    ///
    /// # Errors
    /// The disk is full or gone: what was there before stays readable.
    pub fn add(&mut self, records: &[Record]) -> Result<()> {
        let bytes: Vec<u8> = records.iter().flat_map(encode).collect();
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        written.map_err(|error| Error::io(self.folder.join("journal.bin"), "append to", &error))
    }

    /// Replaces what is kept of attempts under way.
    ///
    /// # Errors
    /// The file can't be written; the old one stays.
    pub fn save(&self, stage: u32, replays: u32, attempts: &[Attempt]) -> Result<()> {
        let meta = Meta {
            stage,
            replays,
            attempts: attempts.iter().map(|one| (one.index, one.number, one.passes[0], one.passes[1])).collect(),
        };
        let text = serde_json::to_string(&meta).map_err(|error| Error::new("attack state", error.to_string()))?;
        let mut tensors = Vec::new();
        let first = attempts.first();
        for place in 0..first.map_or(0, |attempt| attempt.rows.len()) {
            let rows = attempts.iter().map(|attempt| attempt.rows.get(place).map_or(&[][..], Vec::as_slice));
            tensors.push((format!("state.{place}"), stacked(rows, attempts.len())?));
        }
        if first.is_some() {
            let rows = attempts.iter().map(|attempt| attempt.progress.as_slice());
            tensors.push(("progress".to_owned(), stacked(rows, attempts.len())?));
        }
        let metadata = BTreeMap::from([(KEY.to_owned(), text)]);
        tensor_file::write(
            slots_file(&self.folder),
            tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)),
            &metadata,
        )
    }
}

fn stacked<'a>(rows: impl Iterator<Item = &'a [f32]>, count: usize) -> Result<Tensor> {
    let values: Vec<f32> = rows.flatten().copied().collect();
    Tensor::new(&[count, values.len() / count.max(1)], &values)
}

fn read_slots(folder: &Path) -> Result<Option<Saved>> {
    let path = slots_file(folder);
    if !path.exists() {
        return Ok(None);
    }
    let file = tensor_file::TensorFile::open(&path)?;
    let damaged = |problem: &str| Error::new(path.display().to_string(), problem.to_owned()).help("delete this file");
    let text = file.metadata(KEY).ok_or_else(|| damaged("is no state of an attack"))?;
    let meta: Meta = serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
    let mut attempts: Vec<Attempt> = meta
        .attempts
        .iter()
        .map(|&(index, number, forward, backward)| Attempt {
            passes: [forward, backward],
            ..Attempt::new(index, number)
        })
        .collect();
    let count = attempts.len();
    let mut place = 0;
    while count > 0 && file.dims(&format!("state.{place}")).is_some() {
        for (attempt, row) in attempts.iter_mut().zip(rows_of(&file, &format!("state.{place}"), count)?) {
            attempt.rows.push(row);
        }
        place += 1;
    }
    if count > 0 {
        for (attempt, row) in attempts.iter_mut().zip(rows_of(&file, "progress", count)?) {
            attempt.progress = row;
        }
    }
    Ok(Some(Saved { stage: meta.stage, replays: meta.replays, attempts }))
}

fn rows_of(file: &tensor_file::TensorFile, name: &str, count: usize) -> Result<Vec<Vec<f32>>> {
    let tensor = file.read(name)?;
    let values = tensor.values::<f32>()?;
    let width = values.len() / count.max(1);
    Ok(values.chunks_exact(width.max(1)).map(<[f32]>::to_vec).collect())
}

/// Length and checksum of the payload, and the payload.
fn encode(record: &Record) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend(record.stage.to_le_bytes());
    payload.extend(record.index.to_le_bytes());
    payload.extend(record.attempt.to_le_bytes());
    record.passes.iter().for_each(|passes| payload.extend(passes.to_le_bytes()));
    payload.push(u8::from(record.delta.is_some()));
    record.delta.iter().flatten().for_each(|value| payload.extend(value.to_le_bytes()));
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(payload.len() + 8);
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32fast::hash(&payload).to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// The records that are whole, and the bytes that they take.
fn parse(bytes: &[u8]) -> (Vec<Record>, usize) {
    let (mut records, mut at) = (Vec::new(), 0);
    while let Some((record, length)) = bytes.get(at..).and_then(decode) {
        records.push(record);
        at += length;
    }
    (records, at)
}

fn decode(bytes: &[u8]) -> Option<(Record, usize)> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let length = usize::try_from(word(0)?).ok()?;
    let payload = bytes.get(8..)?.get(..length)?;
    if crc32fast::hash(payload) != word(4)? {
        return None;
    }
    let long = |at: usize| Some(u64::from_le_bytes(payload.get(at..at + 8)?.try_into().ok()?));
    let stage = u32::from_le_bytes(payload.get(..4)?.try_into().ok()?);
    let attempt = u32::from_le_bytes(payload.get(12..16)?.try_into().ok()?);
    let fooled = *payload.get(32)? == 1;
    let values = payload.get(33..)?.chunks_exact(4).filter_map(|four| Some(f32::from_le_bytes(four.try_into().ok()?)));
    let delta = fooled.then(|| values.collect());
    Some((Record { stage, index: long(4)?, attempt, passes: [long(16)?, long(24)?], delta }, length + 8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        let delta = prop::option::of(prop::collection::vec(-1.0_f32..1.0, 0..9));
        (0_u32..4, any::<u64>(), 0_u32..9, delta, any::<[u64; 2]>())
            .prop_map(|(stage, index, attempt, delta, passes)| Record { stage, index, attempt, delta, passes })
    }

    proptest! {
        #[test]
        fn a_journal_that_is_cut_anywhere_gives_its_whole_records(records in prop::collection::vec(record(), 0..6), cut in 0.0_f64..1.0) {
            let bytes: Vec<u8> = records.iter().flat_map(encode).collect();
            prop_assert_eq!(&parse(&bytes).0, &records);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a few bytes")]
            let end = (bytes.len() as f64 * cut) as usize;
            let (found, whole) = parse(&bytes[..end]);
            prop_assert!(whole <= end);
            prop_assert_eq!(&found[..], &records[..found.len()]);
            prop_assert_eq!(records[..found.len()].iter().flat_map(encode).count(), whole);
        }
    }

    #[test]
    fn a_damaged_record_ends_the_journal() {
        let one = Record { stage: 1, index: 7, attempt: 2, delta: Some(vec![0.5, -0.25]), passes: [3, 2] };
        let mut bytes: Vec<u8> = [encode(&one), encode(&one)].concat();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(parse(&bytes), (vec![one], last.div_ceil(2)));
    }

    #[test]
    fn attempts_come_back_as_they_were_and_another_runs_state_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, records, saved) = Journal::open(folder.path(), &"one".into()).unwrap();
        assert!(records.is_empty() && saved.is_none());
        let attempt = |index| Attempt {
            rows: vec![vec![1.0, 2.0], vec![-0.0, f32::MIN_POSITIVE]],
            progress: vec![0.03, 1.0, 5.0],
            passes: [6, 5],
            ..Attempt::new(index, 2)
        };
        let attempts = vec![attempt(4), attempt(9)];
        let one = Record { stage: 0, index: 3, attempt: 0, delta: None, passes: [1, 0] };
        journal.add(std::slice::from_ref(&one)).unwrap();
        journal.save(1, 17, &attempts).unwrap();
        drop(journal);
        let (_, records, saved) = Journal::open(folder.path(), &"one".into()).unwrap();
        assert_eq!(records, [one]);
        assert_eq!(saved, Some(Saved { stage: 1, replays: 17, attempts }));
        let refused = |run: &str| {
            let error = Journal::open(folder.path(), &run.into()).err().map(|error| error.to_string());
            let text = error.unwrap_or_default();
            assert!(text.contains("another run") && text.contains("--state"), "{text}");
        };
        refused("two");
        // The same run, saved by a version whose rows meant something else.
        let about = folder.path().join("about.json");
        let text = std::fs::read_to_string(&about).unwrap();
        let earlier = text.replace(&format!("\"format\": {FORMAT}"), &format!("\"format\": {}", FORMAT - 1));
        assert_ne!(earlier, text);
        std::fs::write(&about, earlier).unwrap();
        refused("one");
        // Before there were formats.
        std::fs::write(&about, "\"one\"").unwrap();
        refused("one");
    }
}
