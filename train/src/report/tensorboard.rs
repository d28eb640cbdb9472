//! Event files that TensorBoard reads: scalars over steps.
//!
//! A file is a sequence of records, each of a length (little-endian u64), its masked CRC-32C, the bytes, and their masked
//! CRC-32C, as in `TFRecord` files. The bytes are a protocol buffer, `Event`: field 1 `wall_time` (double), 2 `step` (varint), 3
//! `file_version` (string), 5 `summary`, 7 `session_log`. A summary's field 1 is a value with 1 `tag` and 2 `simple_value` (float).
//! `wall_time` is the clock's, because TensorBoard orders runs by it: it is the only thing in any file of Vitrum that differs
//! between equal runs.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::{Error, Result};

/// An open event file. Each record is one write, flushed.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Makes a new event file in `folder`, which is created. What other files of the folder have from step `from` on is
    /// no longer shown, as it is done again where a run is resumed.
    ///
    /// # Errors
    /// The folder or the file can't be written.
    pub fn create(folder: impl AsRef<Path>, from: usize) -> Result<Self> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", &error))?;
        let (path, file) = new_file(folder)?;
        let mut events = Self { path, file };
        events.write(&message(3, b"brain.Event:2"), None)?;
        if from > 0 {
            // A session's start purges the steps from its own on.
            events.write(&message(7, &integer(1, 1)), Some(from))?;
        }
        Ok(events)
    }

    /// Adds the value of `tag` at `step`. Slashes in a tag make groups.
    ///
    /// # Errors
    /// The disk is full.
    pub fn scalar(&mut self, tag: &str, step: usize, value: f64) -> Result<()> {
        #[expect(clippy::cast_possible_truncation, reason = "the format holds f32")]
        let value = [vec![2 << 3 | 5], (value as f32).to_le_bytes().to_vec()].concat();
        let entry = message(1, &[message(1, tag.as_bytes()), value].concat());
        self.write(&message(5, &entry), Some(step))
    }

    fn write(&mut self, content: &[u8], step: Option<usize>) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let mut event = [vec![1 << 3 | 1], now.to_le_bytes().to_vec()].concat();
        if let Some(step) = step {
            event.extend(integer(2, u64::try_from(step).unwrap_or(u64::MAX)));
        }
        event.extend_from_slice(content);
        let written = self.file.write_all(&record(&event)).and_then(|()| self.file.flush());
        written.map_err(|error| Error::io(&self.path, "append to the event file", &error))
    }
}

/// A file under a name of its own, in the order of which TensorBoard reads them.
fn new_file(folder: &Path) -> Result<(PathBuf, File)> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut attempt = 0_u32;
    loop {
        let name = format!("events.out.tfevents.{seconds:010}.vitrum.{}.{attempt}", std::process::id());
        let path = folder.join(name);
        match OpenOptions::new().append(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
            Err(error) => return Err(Error::io(&path, "create", &error)),
        }
    }
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = u64::try_from(event.len()).unwrap_or(u64::MAX).to_le_bytes();
    let mut out = length.to_vec();
    out.extend(masked(crc32c(&length)).to_le_bytes());
    out.extend_from_slice(event);
    out.extend(masked(crc32c(event)).to_le_bytes());
    out
}

/// A field of bytes: tag with wire type 2, length, bytes.
fn message(field: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![field << 3 | 2], varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX)), bytes.to_vec()].concat()
}

/// A field of a whole number: tag with wire type 0, varint.
fn integer(field: u8, value: u64) -> Vec<u8> {
    [vec![field << 3], varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low & 0x7F);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A checksum of a checksum would be weak: it is rotated, and a constant added.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// CRC-32C (Castagnoli), bit by bit: event files are small.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_equal_the_vectors_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46DD_794E);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    /// The CRC by its definition, as a remainder of polynomials over GF(2), most significant bit first.
    fn remainder(bytes: &[u8]) -> u32 {
        let bits = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        let inverted = bits.enumerate().map(|(at, bit)| bit != (at < 32)).chain([false; 32]);
        let mut register = 0_u64;
        for bit in inverted {
            register = register << 1 | u64::from(bit);
            if register >> 32 & 1 == 1 {
                register ^= 0x1_1EDC_6F41;
            }
        }
        !u32::try_from(register).unwrap().reverse_bits()
    }

    #[derive(Debug, PartialEq)]
    enum Field {
        Number(u64),
        Fixed(Vec<u8>),
        Bytes(Vec<u8>),
    }

    /// A protocol buffer's fields in order.
    fn decode(mut bytes: &[u8]) -> Vec<(u8, Field)> {
        fn number(bytes: &mut &[u8]) -> u64 {
            let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
            let (head, rest) = bytes.split_at(end + 1);
            *bytes = rest;
            head.iter().rev().fold(0, |value, &byte| value << 7 | u64::from(byte & 0x7F))
        }
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = u8::try_from(number(&mut bytes)).unwrap();
            let width = match tag & 7 {
                0 => {
                    fields.push((tag >> 3, Field::Number(number(&mut bytes))));
                    continue;
                }
                1 => 8,
                2 => usize::try_from(number(&mut bytes)).unwrap(),
                5 => 4,
                other => panic!("wire type {other}"),
            };
            let (head, rest) = bytes.split_at(width);
            let field = if tag & 7 == 2 { Field::Bytes(head.to_vec()) } else { Field::Fixed(head.to_vec()) };
            fields.push((tag >> 3, field));
            bytes = rest;
        }
        fields
    }

    /// The events of a file, without their times.
    fn read(folder: &Path) -> Vec<Vec<(u8, Field)>> {
        let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let bytes: Vec<u8> = paths.iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
        let (mut rest, mut events) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
            let unmask = |at: usize| {
                u32::from_le_bytes(rest[at..at + 4].try_into().unwrap()).wrapping_sub(0xA282_EAD8).rotate_left(15)
            };
            assert_eq!(unmask(8), remainder(&rest[..8]), "checksum of the length");
            assert_eq!(unmask(12 + length), remainder(&rest[12..12 + length]), "checksum of the bytes");
            let mut fields = decode(&rest[12..12 + length]);
            assert!(matches!(fields.remove(0), (1, Field::Fixed(time)) if time.len() == 8));
            events.push(fields);
            rest = &rest[16 + length..];
        }
        events
    }

    #[test]
    fn a_file_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("logs");
        let mut events = Events::create(&folder, 0).unwrap();
        let long = "x".repeat(200);
        let written = [("train/loss", 0, 1.5_f32), ("train/loss", 300, -2.25), (&long, usize::MAX, f32::NAN)];
        for (tag, step, value) in written {
            events.scalar(tag, step, f64::from(value)).unwrap();
        }
        let found = read(&folder);
        assert_eq!(found[0], [(3, Field::Bytes(b"brain.Event:2".to_vec()))]);
        assert_eq!(found.len(), 4);
        for (event, (tag, step, value)) in found[1..].iter().zip(written) {
            assert_eq!(event[0], (2, Field::Number(step as u64)));
            let (5, Field::Bytes(summary)) = &event[1] else { panic!("{event:?}") };
            let [(1, Field::Bytes(entry))] = &decode(summary)[..] else { panic!("{event:?}") };
            assert_eq!(
                decode(entry),
                [(1, Field::Bytes(tag.as_bytes().to_vec())), (2, Field::Fixed(value.to_le_bytes().to_vec()))]
            );
        }
    }

    #[test]
    fn a_resumed_run_starts_a_session_in_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        Events::create(folder.path(), 0).unwrap();
        Events::create(folder.path(), 7).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        let last = read(folder.path()).pop().unwrap();
        assert_eq!(last, [(2, Field::Number(7)), (7, Field::Bytes(vec![8, 1]))], "field 1 of the session log is START");
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(Events::create(&file, 0).is_err());
    }
}
