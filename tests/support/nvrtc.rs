//! CUDA sources compiled by the real NVRTC for real GPUs: registers, spills and shared memory of every kernel. No GPU is needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine::device::cuda::compile;
use engine::device::source::Source;
use engine::{DType, Error, Result};
use kernels::cases::IN_BF16;
use rayon::prelude::*;

/// Compute capabilities that kernels are compiled for: Ampere, Hopper, Blackwell.
const CAPABILITIES: [u32; 3] = [80, 90, 100];

/// Whether a source is for sm_90a alone, where tensor cores and bulk copies take bf16: it uses that device's instructions.
fn is_for_hopper(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("#include \"ptx90.cuh\""))
}

/// What a source is compiled for.
fn capabilities(text: &str) -> &'static [u32] {
    if is_for_hopper(text) { &[90] } else { &CAPABILITIES }
}

/// How the tensors of a source's kernels may be stored.
fn storages(path: &str, text: &str) -> &'static [DType] {
    let lab = path.starts_with("bench/lab/");
    let bf16_alone = lab && text.lines().any(|line| line.starts_with("// lab:") && line.ends_with(", bf16"));
    if is_for_hopper(text) || path.ends_with(".bf16.cu") || bf16_alone {
        return &[DType::Bf16];
    }
    let op = path.strip_prefix("kernels/src/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let both = IN_BF16.contains(&op) || path.contains("/gemm_cuda/") || lab;
    if both { &[DType::F32, DType::Bf16] } else { &[DType::F32] }
}

/// What a kernel takes on a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resources {
    registers: String,
    shared: String,
    /// Bytes of the stack frame, of spill stores and loads.
    spills: String,
}

/// What ptxas says of each kernel of a compilation.
fn parse(log: &str) -> BTreeMap<String, Resources> {
    let mut found: BTreeMap<String, Resources> = BTreeMap::new();
    let mut entry = String::new();
    for line in log.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            entry = rest.split('\'').next().unwrap_or_default().to_owned();
        }
        if line.contains("bytes stack frame") {
            let numbers: Vec<&str> =
                line.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty()).collect();
            found.entry(entry.clone()).or_default().spills = numbers.join("+");
        }
        if let Some(rest) = line.split("Used ").nth(1) {
            let before = |unit: &str| {
                let part = rest.split(", ").find_map(|part| part.trim().strip_suffix(unit));
                part.unwrap_or("0").trim().to_owned()
            };
            let resources = found.entry(entry.clone()).or_default();
            (resources.registers, resources.shared) = (before("registers"), before("bytes smem"));
        }
    }
    found
}

/// Instructions of tensor cores and of asynchronous copies: what a kernel without them computes too, and slowly.
const TELLING: [&str; 9] =
    ["HMMA", "HGMMA", "LDSM", "STSM", "LDGSTS", "UTMALDG", "UTMASTG", "USETMAXREG", "UCGABAR_ARV"];

/// NVIDIA's disassembler, which `tests/nvrtc` puts beside NVRTC.
pub fn disassembler() -> Option<PathBuf> {
    let library = PathBuf::from(std::env::var_os("VITRUM_CUDA_LIBRARY_PATH")?);
    Some(library.parent()?.join("bin/nvdisasm")).filter(|path| path.exists())
}

/// The telling instructions of each kernel in a disassembly.
fn telling(text: &str) -> BTreeMap<String, Vec<&'static str>> {
    let mut found: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    let mut entry = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix(".text.").and_then(|rest| rest.strip_suffix(':')) {
            entry = Some(name.to_owned());
            found.entry(name.to_owned()).or_default();
        }
        let words = || line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let Some(kernel) = entry.as_ref().and_then(|entry| found.get_mut(entry)) else { continue };
        kernel.extend(TELLING.iter().filter(|&&name| words().any(|word| word == name)));
        kernel.sort_unstable();
        kernel.dedup();
    }
    found
}

/// Runs the disassembler over machine code.
fn disassembled(program: &Path, code: &[u8]) -> Result<String> {
    let fail = |what: &str| Error::new("nvdisasm", what.to_owned()).with("program", program.display());
    // Threads of one process disassemble different codes.
    let name = format!("vitrum-{}-{:x}.cubin", std::process::id(), code.as_ptr().addr());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, code).map_err(|error| fail(&error.to_string()))?;
    let output = Command::new(program).arg("-c").arg(&file).output().map_err(|error| fail(&error.to_string()));
    std::fs::remove_file(&file).map_err(|error| fail(&error.to_string()))?;
    let output = output?;
    if !output.status.success() {
        return Err(fail("it does not take the code").with("says", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the gate finds, a line per kernel each.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Registers and shared memory.
    pub resources: Vec<String>,
    /// Telling instructions per compilation, of kernels that have any; empty without a disassembler.
    pub instructions: Vec<String>,
}

/// Compiles `files` (path and text) for every GPU and storage, and gives lines for each kernel, or all that is wrong.
///
/// # Errors
/// A file that does not compile, a kernel that spills registers, or one that NVRTC tells nothing about.
pub fn table(files: &[(String, String)], headers: &[(String, String)]) -> Result<Table> {
    let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
    let header = |(path, text): &(String, String)| (leak(path.rsplit('/').next().unwrap_or(path)), leak(text));
    let library: &'static [_] = Box::leak(headers.iter().map(header).collect::<Vec<_>>().into_boxed_slice());
    let disassembler = disassembler();
    let lines = files.par_iter().map(|(path, text)| {
        let source = Source { file: leak(path), text: leak(text), library };
        let mut kernels: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut instructions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for &storage in storages(path, text) {
            for &capability in capabilities(text) {
                let compiled = compile(&source, storage, capability)?;
                let found = parse(&compiled.log);
                if found.is_empty() {
                    return Err(Error::new(path, "NVRTC tells nothing about its kernels"));
                }
                for (entry, Resources { registers, shared, spills }) in found {
                    if spills != "0+0+0" {
                        return Err(Error::new(path, "a kernel spills registers")
                            .with("kernel", &entry)
                            .with("for", format!("{storage}, {capability}"))
                            .with("stack, stores, loads", spills));
                    }
                    kernels.entry(entry).or_default().push(format!("{registers}/{shared}"));
                }
                let text = disassembler.as_ref().map(|program| disassembled(program, &compiled.code)).transpose()?;
                for (entry, found) in text.as_deref().map(telling).unwrap_or_default() {
                    instructions.entry(entry).or_default().push(found.join("+"));
                }
            }
        }
        instructions.retain(|_, all| all.iter().any(|found| !found.is_empty()));
        let lines = |kernels: BTreeMap<String, Vec<String>>| {
            kernels.into_iter().map(|(entry, all)| format!("{path} {entry}: {}", all.join(" "))).collect::<Vec<_>>()
        };
        Ok((lines(kernels), lines(instructions)))
    });
    let (resources, instructions): (Vec<_>, Vec<_>) = lines.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let sorted = |lines: Vec<Vec<String>>| {
        let mut all = lines.concat();
        all.sort();
        all
    };
    Ok(Table { resources: sorted(resources), instructions: sorted(instructions) })
}

/// Lines that differ, as a reader of a diff wants them.
pub fn difference(expected: &str, found: &[String]) -> String {
    let expected: Vec<&str> = expected.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let gone = expected.iter().filter(|line| !found.iter().any(|other| other == *line)).map(|line| format!("- {line}"));
    let new = found.iter().filter(|line| !expected.contains(&line.as_str())).map(|line| format!("+ {line}"));
    let mut lines: Vec<String> = gone.chain(new).collect();
    lines.sort_by(|a, b| a[2..].cmp(&b[2..]));
    lines.join("\n")
}

#[test]
fn sources_for_hopper_are_known() {
    let hopper = "// A product.\n#include \"ptx90.cuh\"\n";
    assert_eq!(
        (capabilities(hopper), storages("kernels/src/linear/hopper.cu", hopper)),
        (&[90][..], &[DType::Bf16][..])
    );
    let other = "// Unlike one with ptx90.cuh.\n#include \"ptx.cuh\"\n";
    assert_eq!((capabilities(other), storages("kernels/src/linear/x.cu", other).len()), (&CAPABILITIES[..], 2));
    let lab = "// Tiles.\n// lab: tile 64 64, threads 256, bf16\n";
    assert_eq!(storages("bench/lab/gemm/x.cu", lab), [DType::Bf16]);
    assert_eq!(storages("bench/lab/gemm/x.cu", &lab.replace(", bf16", "")).len(), 2);
}

#[test]
fn telling_instructions_are_found_by_kernel() {
    let text = "\t.section\t.text.b,\"ax\"\n.text.b:\n        /*0000*/  @!P0 LDGSTS.E [R1], [R2] ;\n        /*0010*/  HMMA.16816.F32 R4, R8 ;\n\
                .text.a:\n        /*0000*/  MOV R1, c[0x0][0x28] ;\n";
    let expected = [("a".to_owned(), vec![]), ("b".to_owned(), vec!["HMMA", "LDGSTS"])];
    assert_eq!(telling(text), BTreeMap::from(expected));
}

#[test]
fn what_ptxas_says_is_understood() {
    let log = "ptxas info    : Compiling entry function 'nt64' for 'sm_80'\nptxas info    : Function properties for nt64\n\
               \x20   8 bytes stack frame, 4 bytes spill stores, 16 bytes spill loads\n\
               ptxas info    : Used 64 registers, used 1 barriers, 8704 bytes smem, 480 bytes cmem[0]\n";
    let found = parse(log);
    let expected = Resources { registers: "64".into(), shared: "8704".into(), spills: "8+4+16".into() };
    assert_eq!(found, BTreeMap::from([("nt64".to_owned(), expected)]));
    let lines = ["b: 1".to_owned(), "c: 2".to_owned()];
    assert_eq!(difference("# head\na: 1\nb: 1\n", &lines), "- a: 1\n+ c: 2");
}
