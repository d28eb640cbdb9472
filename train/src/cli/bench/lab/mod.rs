//! `vitrum bench --lab FOLDER`: kernels that are read when the program runs, beside the one that Vitrum ships.
//!
//! `bench/lab/README.md` has the signatures. A file is checked on a ragged shape and on every shape that is timed.

mod version;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::device::cuda::{Boxes, Caps, CudaExec, Grid, Kernel, Param, Swizzle, Whole};
use engine::device::timing::Flush;
use engine::{
    DType, Device, Error, Exec, Plan, Result, Role, Spec, Store, Tape, Target, Tensor, Update, UpdateIo, Var, Work,
};
use kernels::attention::attention;
use kernels::linear::linear;
use serde::Serialize;

use super::samples::Samples;
use super::suite::{FLUSH, Noise};
use crate::cli::screen::{self, Screen};
use version::{Geometry, Version};

/// Largest difference from the shipped kernel's result that passes, of its largest value.
fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::Bf16 { 1.0 / 64.0 } else { 1e-4 }
}

/// The check that a version passed.
const RIGHT: &str = "right";

/// Elements from one that is compared to the next, where there are many.
const STRIDE: usize = 1009;

/// An operation that has a laboratory: its folder's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Gemm,
    Attention,
}

/// Sizes: m, n, k, and 1; or images, tokens, heads, and the width of one.
type Sizes = [usize; 4];

impl Op {
    fn of(folder: &Path) -> Result<Self> {
        match folder.file_name().and_then(|name| name.to_str()) {
            Some("gemm") => Ok(Self::Gemm),
            Some("attention") => Ok(Self::Attention),
            _ => Err(Error::new("--lab", "the folder's name is no operation of the laboratory")
                .with("folder", folder.display())
                .help("gemm or attention, such as bench/lab/gemm")),
        }
    }

    fn entry(self) -> &'static str {
        match self {
            Self::Gemm => "gemm",
            Self::Attention => "attention",
        }
    }

    /// Shapes that are timed, with their names.
    fn shapes(self, tiny: bool) -> Vec<(&'static str, Sizes)> {
        match (self, tiny) {
            (Self::Gemm, true) => vec![("tiny", [128, 64, 64, 1])],
            (Self::Gemm, false) => vec![("8192", [8192, 8192, 8192, 1]), ("vit_b_fc1", [256 * 197, 3072, 768, 1])],
            (Self::Attention, true) => vec![("tiny", [1, 32, 2, 64])],
            (Self::Attention, false) => vec![("b256_h12_n197_d64", [256, 197, 12, 64])],
        }
    }

    /// A shape with tails, but for what a version can't take.
    fn ragged(self, multiples: Sizes) -> Sizes {
        let sizes: Sizes = match self {
            // More tiles, of the largest too, than an emulated device has blocks; more steps of k than a ring has stages.
            Self::Gemm => [389, 291, 328, 1],
            // Four tiles of queries, the last with a tail, and so many heads that an emulated device's blocks use a stage again.
            Self::Attention => [3, 197, 3, 64],
        };
        std::array::from_fn(|at| sizes[at].next_multiple_of(multiples[at].max(1)))
    }

    fn inputs(self, [a, b, c, d]: Sizes) -> Vec<Vec<usize>> {
        match self {
            Self::Gemm => vec![vec![a, c], vec![b, c]],
            Self::Attention => vec![vec![a, b, 3 * c * d]],
        }
    }

    fn output(self, [a, b, c, d]: Sizes) -> Vec<usize> {
        match self {
            Self::Gemm => vec![a, b],
            Self::Attention => vec![a, b, c * d],
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of work")]
    fn flops(self, [a, b, c, d]: Sizes) -> f64 {
        match self {
            Self::Gemm => 2.0 * (a * b * c) as f64,
            Self::Attention => 4.0 * (a * c * b * b * d) as f64,
        }
    }
}

/// One launch of a version: writes the output from the inputs.
#[derive(Debug)]
struct Launch {
    version: Arc<Version>,
    op: Op,
    sizes: Sizes,
}

impl Update for Launch {
    fn name(&self) -> &'static str {
        "lab"
    }

    fn check(&self, _state: &[Spec], _inputs: &[Spec]) -> Result<()> {
        Ok(())
    }

    fn scratch(&self, _state: &[Spec], _inputs: &[Spec], _target: Target) -> usize {
        0
    }

    fn cost(&self, _state: &[Spec], _inputs: &[Spec]) -> Work {
        Work::default()
    }

    fn run(&self, exec: &mut Exec, io: UpdateIo) -> Result<()> {
        let Exec::Cuda(exec) = exec else { return Err(needs_cuda()) };
        let Geometry { tile, threads, shared, persistent, boxes, .. } = self.version.geometry;
        let [a, b, c, _] = self.sizes;
        let tiles = match self.op {
            Op::Gemm => a.div_ceil(tile[0]) * b.div_ceil(tile[1]),
            Op::Attention => a * c * b.div_ceil(tile[0]),
        };
        let processors = usize::try_from(exec.caps().processors).unwrap_or(1);
        let blocks = if persistent > 0 { persistent * processors } else { tiles };
        let dtype = io.state[0].spec().dtype;
        let inputs = io.inputs.iter().map(|input| input.address()).collect::<Result<Vec<Param>>>()?;
        let output = io.state[0].address()?;
        let mut params: Vec<Whole> = match boxes {
            Some([first, second, _]) => self.maps(exec, dtype, &inputs, [first, second])?,
            None => inputs.iter().map(Whole::of).collect(),
        };
        params.push(match boxes {
            Some([_, _, rows]) if rows > 0 => self.output_map(exec, dtype, output, rows)?,
            _ => Whole::of(&output),
        });
        let sizes = if self.op == Op::Gemm { &self.sizes[..3] } else { &self.sizes[..] };
        params.extend(sizes.iter().map(|&size| Whole::of(&Param::from(size))));
        let kernel = Kernel::new(self.version.source, self.op.entry(), dtype);
        exec.launch_wholes(kernel, Grid::new(blocks, threads).shared(shared), params)
    }
}

impl Launch {
    /// Two maps: of A and B; or of qkv twice, for queries, and for keys and values. Rows of a box are 128 bytes, swizzled.
    fn maps(&self, exec: &CudaExec, dtype: DType, inputs: &[Param], rows: [usize; 2]) -> Result<Vec<Whole>> {
        let [a, b, c, d] = self.sizes;
        let (element, columns) = (dtype.size(), 128 / dtype.size());
        let pitch = c * element;
        let of = |at: usize| inputs.get(at).copied().unwrap_or(Param::NULL);
        let shared =
            Boxes { name: "", start: of(0), dtype, dims: &[], strides: &[], tile: &[], swizzle: Swizzle::B128 };
        let maps = match self.op {
            Op::Gemm => [
                Boxes { name: "A", dims: &[c, a], strides: &[pitch], tile: &[columns, rows[0]], ..shared },
                Boxes {
                    name: "B",
                    start: of(1),
                    dims: &[c, b],
                    strides: &[pitch],
                    tile: &[columns, rows[1]],
                    ..shared
                },
            ]
            .map(|boxes| exec.tensor_map(&boxes)),
            Op::Attention => {
                let row = 3 * c * d * element;
                rows.map(|rows| {
                    exec.tensor_map(&Boxes {
                        name: "qkv",
                        dims: &[d, b, 3 * c, a],
                        strides: &[row, d * element, b * row],
                        tile: &[columns.min(d), rows, 1, 1],
                        ..shared
                    })
                })
            }
        };
        maps.into_iter().map(|map| map.map(|map| Whole::of(&map))).collect()
    }
}

impl Launch {
    /// A map of the output, as those of the operands.
    fn output_map(&self, exec: &CudaExec, dtype: DType, start: Param, rows: usize) -> Result<Whole> {
        let [a, b, c, d] = self.sizes;
        let (element, columns) = (dtype.size(), 128 / dtype.size());
        let shared = Boxes { name: "output", start, dtype, dims: &[], strides: &[], tile: &[], swizzle: Swizzle::B128 };
        let map = match self.op {
            Op::Gemm => {
                exec.tensor_map(&Boxes { dims: &[b, a], strides: &[b * element], tile: &[columns, rows], ..shared })
            }
            Op::Attention => exec.tensor_map(&Boxes {
                dims: &[d, b, c, a],
                strides: &[c * d * element, d * element, b * c * d * element],
                tile: &[columns.min(d), rows, 1, 1],
                ..shared
            }),
        };
        map.map(|map| Whole::of(&map))
    }
}

fn needs_cuda() -> Error {
    Error::new("--lab", "the laboratory's kernels are CUDA's").help("add --device cuda")
}

/// A shape on the device: its inputs, and what the shipped kernel makes of them.
struct Problem<'a> {
    lab: &'a Lab<'a>,
    sizes: Sizes,
    store: Store,
    inputs: Vec<Var>,
    output: Var,
    expected: Vec<f64>,
    /// Seconds of the shipped kernel, the median.
    shipped: f64,
}

struct Lab<'a> {
    device: &'a Device,
    op: Op,
    noise: Noise,
    least_flush: usize,
}

impl<'a> Lab<'a> {
    /// Without `time` nothing is timed.
    fn problem(&'a self, sizes: Sizes, time: Option<Duration>) -> Result<Problem<'a>> {
        let mut store = Store::new(self.device.clone())?;
        let dtype = self.device.storage();
        let mut inputs = Vec::new();
        for (at, dims) in self.op.inputs(sizes).iter().enumerate() {
            let tensor = self.noise.tensor(Spec::new(dtype, dims)?, at, |x| x)?;
            inputs.push(store.constant(&format!("input{at}"), Role::Data, &tensor)?);
        }
        let output = store.single("output", Role::Data, Spec::new(dtype, &self.op.output(sizes))?)?;
        let mut tape = Tape::new();
        let values = inputs.iter().map(|&var| tape.var(&store, var)).collect::<Result<Vec<_>>>()?;
        let shipped = match self.op {
            Op::Gemm => linear(&mut tape, values[0], values[1], None, None)?,
            Op::Attention => attention(&mut tape, values[0], sizes[2])?,
        };
        let plan = tape.plan_with(&mut store, &[shipped], false)?;
        plan.replay(&mut store)?;
        let expected = sampled(&plan.read(&store, shipped)?);
        let seconds = self.median(&plan, &mut store, time)?;
        Ok(Problem { lab: self, sizes, store, inputs, output, expected, shipped: seconds })
    }
}

impl Lab<'_> {
    /// Median seconds of a plan's launches; 0 where no `time` is given for them.
    fn median(&self, plan: &Plan, store: &mut Store, time: Option<Duration>) -> Result<f64> {
        let Some(time) = time else { return Ok(0.0) };
        let mut flush = Flush::new(self.device, self.least_flush)?;
        let samples = Samples::collect(time, || plan.time(store, None, || flush.as_mut().map_or(Ok(()), Flush::run)))?;
        Ok(samples.quantile(0.5))
    }
}

impl Problem<'_> {
    /// Seconds of a version, the median, and its largest error relative to the largest value. Without `time` it isn't timed.
    fn measure(&mut self, version: &Arc<Version>, time: Option<Duration>) -> Result<(f64, f64)> {
        let launch = Launch { version: Arc::clone(version), op: self.lab.op, sizes: self.sizes };
        let mut tape = Tape::new();
        let values = self.inputs.iter().map(|&var| tape.var(&self.store, var)).collect::<Result<Vec<_>>>()?;
        tape.update(&self.store, launch, &[self.output], &values)?;
        let plan = tape.plan_with(&mut self.store, &[], false)?;
        // What another version wrote must not pass for this one's.
        let nothing = self.lab.noise.tensor(self.store.spec(self.output)?, 0, |_| f32::MAX)?;
        self.store.write(self.output, &nothing)?;
        plan.replay(&mut self.store)?;
        let actual = sampled(&self.store.read(self.output)?);
        let largest = self.expected.iter().fold(f64::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let error = actual
            .iter()
            .zip(&self.expected)
            .map(|(a, b)| (a - b).abs() / largest)
            .fold(0.0, |most: f64, e| if e.is_nan() { f64::INFINITY } else { most.max(e) });
        Ok((self.lab.median(&plan, &mut self.store, time)?, error))
    }
}

/// Elements of a tensor of f32 or bf16: all, or some of many.
fn sampled(tensor: &Tensor) -> Vec<f64> {
    let bytes = tensor.bytes();
    let size = tensor.spec().dtype.size();
    let step = if tensor.spec().elements() > 1 << 20 { STRIDE } else { 1 };
    let widened = |element: &[u8]| match *element {
        [low, high] => f32::from_le_bytes([0, 0, low, high]),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        _ => f32::NAN,
    };
    bytes.chunks_exact(size).step_by(step).map(|element| f64::from(widened(element))).collect()
}

/// A version on one shape.
#[derive(Serialize)]
struct Timed {
    shape: &'static str,
    ms: f64,
    gflops: f64,
    /// The shipped kernel's time over this one's.
    over_shipped: f64,
}

#[derive(Serialize)]
struct Row {
    version: String,
    idea: String,
    /// [`RIGHT`], or what is wrong.
    check: String,
    /// Largest error over all shapes, relative to the largest value.
    error: Option<f64>,
    times: Vec<Timed>,
}

/// Checks and times every version in `folder`. Whether all that could run were right.
pub fn run(device: &Device, screen: &Screen, folder: &Path, tiny: bool, time: Duration) -> Result<()> {
    let Device::Cuda(gpu) = device else { return Err(needs_cuda()) };
    let op = Op::of(folder)?;
    let versions = Version::all(folder)?;
    let lab = Lab { device, op, noise: Noise::new(), least_flush: if tiny { 0 } else { FLUSH } };
    let mut rows: Vec<Row> =
        versions.iter().map(|version| checked(&lab, version, gpu.caps())).collect::<Result<_>>()?;
    let mut shipped = Row { version: "shipped".to_owned(), ..empty("what `vitrum` runs") };
    for (shape, sizes) in op.shapes(tiny) {
        let mut problem = lab.problem(sizes, Some(time))?;
        let gflops = |seconds: f64| op.flops(sizes) / seconds / 1e9;
        let seconds = problem.shipped;
        shipped.times.push(Timed { shape, ms: 1e3 * seconds, gflops: gflops(seconds), over_shipped: 1.0 });
        for (version, row) in versions.iter().zip(&mut rows).filter(|(_, row)| row.error.is_some()) {
            if !version.geometry.fits(sizes) {
                continue;
            }
            let Some(seconds) = attempt(&mut problem, version, row, shape, Some(time)) else { continue };
            let over_shipped = problem.shipped / seconds;
            row.times.push(Timed { shape, ms: 1e3 * seconds, gflops: gflops(seconds), over_shipped });
        }
    }
    rows.push(shipped);
    screen.line(device.description())?;
    screen.table(&table(&rows))?;
    screen.json(&serde_json::json!({ "op": op.entry(), "device": device.description(), "versions": rows }))?;
    match rows.iter().find(|row| row.check.starts_with("WRONG") || row.check.starts_with("FAILED")) {
        Some(row) => Err(Error::new(&row.version, &row.check).with("folder", folder.display())),
        None => Ok(()),
    }
}

fn empty(idea: &str) -> Row {
    Row { version: String::new(), idea: idea.to_owned(), check: RIGHT.to_owned(), error: None, times: Vec::new() }
}

/// A version on the ragged shape.
fn checked(lab: &Lab, version: &Arc<Version>, caps: Caps) -> Result<Row> {
    let mut row = Row { version: version.name.clone(), ..empty(&version.idea) };
    let needed = version.geometry.capability;
    if caps.capability < needed {
        row.check = format!("not run: it needs sm_{needed}");
        return Ok(row);
    }
    if version.geometry.bf16 && lab.device.storage() != DType::Bf16 {
        row.check = "not run: it needs --bf16".to_owned();
        return Ok(row);
    }
    let mut problem = lab.problem(lab.op.ragged(version.geometry.multiples), None)?;
    attempt(&mut problem, version, &mut row, "a ragged shape", None);
    Ok(row)
}

/// Seconds of a version on a shape, and into `row` whether it was right there. One that fails leaves the others alone.
fn attempt(
    problem: &mut Problem,
    version: &Arc<Version>,
    row: &mut Row,
    shape: &str,
    time: Option<Duration>,
) -> Option<f64> {
    match problem.measure(version, time) {
        Ok((seconds, error)) => {
            row.error = Some(row.error.unwrap_or(0.0).max(error));
            if error > tolerance(problem.lab.device.storage()) && row.check == RIGHT {
                row.check = format!("WRONG on {shape}: {error:.1e} of the largest value");
            }
            Some(seconds)
        }
        Err(error) => {
            screen::note(format_args!("{}: {error}", version.name));
            row.check = format!("FAILED on {shape}");
            None
        }
    }
}

fn table(rows: &[Row]) -> Vec<Vec<String>> {
    let shapes: Vec<&str> = rows.last().map_or_else(Vec::new, |row| row.times.iter().map(|t| t.shape).collect());
    let mut heading = vec!["version".to_owned(), "check".to_owned()];
    heading.extend(
        shapes.iter().flat_map(|shape| [format!("{shape}, ms"), "GFLOP/s".to_owned(), "of shipped".to_owned()]),
    );
    heading.push("idea".to_owned());
    let cells = |row: &Row| {
        let mut cells = vec![row.version.clone(), row.check.clone()];
        for shape in &shapes {
            let timed = row.times.iter().find(|timed| timed.shape == *shape);
            cells.extend(timed.map_or_else(
                || vec![String::new(); 3],
                |t| vec![format!("{:.4}", t.ms), format!("{:.0}", t.gflops), format!("{:.0}%", 100.0 * t.over_shipped)],
            ));
        }
        cells.push(row.idea.clone());
        cells
    };
    [heading].into_iter().chain(rows.iter().map(cells)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_the_repository_says_how_it_is_launched() {
        for op in ["gemm", "attention"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/lab").join(op);
            assert_eq!(Op::of(&folder).unwrap().entry(), op);
            let versions = Version::all(&folder).unwrap();
            assert!(versions.iter().all(|version| !version.idea.is_empty()), "each begins with its idea");
        }
        assert!(Op::of(Path::new("bench/lab")).is_err());
    }
}
