//! CUDA C++ to machine code by NVRTC, kept on disk.
//!
//! Code for the device at hand (a cubin), not PTX: a driver refuses PTX of a newer NVRTC, and needs time for any.

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};

use cudarc::nvrtc::result::{self, NvrtcError};
use cudarc::nvrtc::sys;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::library;
use crate::device::source::Source;
use crate::dtype::DType;
use crate::error::{Error, Result};

/// Machine code, and what the compiler said.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The cubin.
    pub code: Vec<u8>,
    /// Registers, spills and shared memory of each kernel, and warnings.
    pub log: String,
}

/// NVRTC's version, major and minor.
///
/// # Errors
/// It is missing.
pub fn version() -> Result<(i32, i32)> {
    library::nvrtc()?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both pointers are valid for the call.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }
        .result()
        .map_err(|error| Error::new("nvrtc", format!("asking for the version: {error}")))?;
    Ok((major, minor))
}

/// Name of the architecture of a compute capability. Hopper's has instructions of its own.
fn architecture(capability: u32) -> String {
    if capability == 90 { "sm_90a".to_owned() } else { format!("sm_{capability}") }
}

/// Options of every compilation.
fn options(storage: DType, capability: u32) -> Vec<String> {
    let mut options = vec![
        format!("--gpu-architecture={}", architecture(capability)),
        "--std=c++17".to_owned(),
        "--generate-line-info".to_owned(),
    ];
    if storage == DType::Bf16 {
        options.push("--define-macro=VITRUM_BF16".to_owned());
    }
    options
}

/// Machine code of `source` with tensors stored as `storage` for a compute capability (90 is 9.0), from disk where it was
/// compiled before.
///
/// # Errors
/// As [`compile`].
pub(super) fn code(source: &Source, storage: DType, capability: u32) -> Result<Vec<u8>> {
    let (options, headers) = (options(storage, capability), headers(source)?);
    let entry = Entry::new(source, &headers, &options, version()?);
    if let Some(code) = entry.read() {
        return Ok(code);
    }
    let compiled = run(source, &headers, &options)?;
    entry.write(&compiled.code);
    Ok(compiled.code)
}

/// Compiles `source` with tensors stored as `storage` for a compute capability (90 is 9.0): needs NVRTC, but no GPU.
///
/// # Errors
/// NVRTC is missing, does not know the architecture, or refuses the source; its messages name our file and line.
pub fn compile(source: &Source, storage: DType, capability: u32) -> Result<Compiled> {
    library::nvrtc()?;
    let mut options = options(storage, capability);
    options.push("--ptxas-options=-v".to_owned());
    run(source, &headers(source)?, &options)
}

/// Every header that the source includes, directly or not: name and text.
fn headers(source: &Source) -> Result<Vec<(&'static str, &'static str)>> {
    let mut found: Vec<(&'static str, &'static str)> = Vec::new();
    let mut texts = vec![source.text];
    while let Some(text) = texts.pop() {
        for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("#include")) {
            let name = line.trim().trim_matches('"');
            if found.iter().any(|(other, _)| *other == name) {
                continue;
            }
            let header = source.library.iter().find(|(other, _)| *other == name);
            let header = header.ok_or_else(|| Error::new(source.file, "no such file to include").with("name", name))?;
            found.push(*header);
            texts.push(header.1);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A program that is freed at the end.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by `program`, freed once. A failure leaves nothing to do.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new("nvrtc", "a zero byte in a kernel's source"))
}

fn run(source: &Source, headers: &[(&str, &str)], options: &[String]) -> Result<Compiled> {
    let fail = |what: &str, error: NvrtcError| Error::new(source.file, format!("{what}: {error}"));
    let (text, file) = (c_string(source.text)?, c_string(source.file)?);
    let names = headers.iter().map(|(name, _)| c_string(name)).collect::<Result<Vec<_>>>()?;
    let texts = headers.iter().map(|(_, text)| c_string(text)).collect::<Result<Vec<_>>>()?;
    let pointers = |strings: &[CString]| strings.iter().map(|string| string.as_ptr()).collect::<Vec<*const c_char>>();
    let (name_pointers, text_pointers) = (pointers(&names), pointers(&texts));
    let count = i32::try_from(headers.len()).unwrap_or(i32::MAX);
    let mut program = std::ptr::null_mut();
    // SAFETY: all strings live until the program is freed below; the two arrays have `count` entries.
    unsafe {
        sys::nvrtcCreateProgram(
            &raw mut program,
            text.as_ptr(),
            file.as_ptr(),
            count,
            text_pointers.as_ptr(),
            name_pointers.as_ptr(),
        )
    }
    .result()
    .map_err(|error| fail("NVRTC does not take the source", error))?;
    let program = Program(program);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    // SAFETY: the program is alive.
    let outcome = unsafe { result::compile_program(program.0, &options) };
    // SAFETY: the program is alive.
    let log = unsafe { result::get_program_log(program.0) }.map_or_else(|_| String::new(), |log| text_of(&log));
    if let Err(error) = outcome {
        return Err(fail("the kernel does not compile", error)
            .with("options", options.join(" "))
            .with("compiler says", log.trim())
            .help("an architecture that NVRTC does not know needs a newer NVRTC"));
    }
    let fail = |error: NvrtcError| fail("NVRTC gives no machine code", error);
    let mut size = 0;
    // SAFETY: the program is alive and the pointer valid.
    unsafe { sys::nvrtcGetCUBINSize(program.0, &raw mut size) }.result().map_err(fail)?;
    let mut code = vec![0_u8; size];
    // SAFETY: `code` has room for the size that NVRTC gave.
    unsafe { sys::nvrtcGetCUBIN(program.0, code.as_mut_ptr().cast()) }.result().map_err(fail)?;
    Ok(Compiled { code, log })
}

fn text_of(log: &[c_char]) -> String {
    let bytes: Vec<u8> = log.iter().map(|&byte| byte.to_ne_bytes()[0]).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Machine code on disk: `SUM` of the code in hexadecimal digits, a line end, the code.
struct Entry(Option<PathBuf>);

impl Entry {
    fn new(source: &Source, headers: &[(&str, &str)], options: &[String], version: (i32, i32)) -> Self {
        let mut key = format!("{version:?}\n{options:?}\n{}\n{}", source.file, source.text);
        for (name, text) in headers {
            key.push_str(&format!("\n{name}\n{text}"));
        }
        let name = format!("{:032x}.cubin", xxh3_128(key.as_bytes()));
        Self(folder().map(|folder| folder.join(name)))
    }

    /// The code, if it is there and whole.
    fn read(&self) -> Option<Vec<u8>> {
        let data = std::fs::read(self.0.as_ref()?).ok()?;
        let (sum, code) = data.split_at_checked(17)?;
        (sum == sum_line(code).as_bytes()).then(|| code.to_vec())
    }

    /// Writes it for the next run. Where that fails, the next run compiles again.
    fn write(&self, code: &[u8]) {
        let Some(path) = &self.0 else { return };
        let made = path.parent().map(std::fs::create_dir_all);
        if made.is_some_and(|made| made.is_ok()) {
            let _ = crate::fs::write_atomic(path, |file| {
                use std::io::Write;
                file.write_all(sum_line(code).as_bytes())?;
                file.write_all(code)
            });
        }
    }
}

fn sum_line(code: &[u8]) -> String {
    format!("{:016x}\n", xxh3_64(code))
}

/// Where machine code is kept: `VITRUM_CACHE`, else the user's cache folder.
fn folder() -> Option<PathBuf> {
    let user = || {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        variable("XDG_CACHE_HOME")
            .or_else(|| variable("LOCALAPPDATA"))
            .map(PathBuf::from)
            .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")))
    };
    let given = std::env::var_os("VITRUM_CACHE").map(PathBuf::from);
    given.or_else(|| user().map(|cache| cache.join("vitrum"))).map(|folder| folder.join("cubin"))
}
