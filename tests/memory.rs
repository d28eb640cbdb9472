//! Memory: replays allocate nothing, canaries and poison do their work, plans are tight, dropping gives everything back.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::check::random;
use engine::{Device, Result, Role, Store, Tape, Tensor};
use kernels::cases::{Case, Draw, Record, tensors};
use support::probes::{Habit, Probe};
use support::vit::{Net, config, images, lively};

/// Counts allocations of the threads that asked for it, and the bytes that each thread holds.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn hold(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    if bytes > 0 && COUNTED.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold(layout.size().cast_signed());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-layout.size().cast_signed());
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations on the device's threads during 100 runs of `replay`, after a few that warm the threads' queues up.
fn allocations(device: &Device, mut replay: impl FnMut() -> Result<()> + Send) -> Result<usize> {
    // The counter is one for all tests of this process: they take turns.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    device.run(move || {
        for _ in 0..20 {
            replay()?;
        }
        rayon::broadcast(|_| COUNTED.set(true));
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let outcome = (0..100).try_for_each(|_| replay());
        let counted = ALLOCATIONS.load(Ordering::Relaxed) - before;
        rayon::broadcast(|_| COUNTED.set(false));
        outcome.map(|()| counted)
    })
}

#[test]
fn the_counter_counts() {
    let device = Device::cpu(Some(2)).unwrap();
    let counted = allocations(&device, || {
        std::hint::black_box(vec![0_u8; 100]);
        Ok(())
    });
    assert!(counted.unwrap() >= 100);
}

/// A case's plan, forward and backward, or its update.
fn allocations_of(case: &Case, device: &Device) -> Result<usize> {
    let inputs = tensors(case)?;
    let mut store = Store::new(device.clone())?;
    let vars = (0..).zip(&inputs).map(|(at, tensor)| store.constant(&format!("{at}"), Role::Data, tensor));
    let vars = vars.collect::<Result<Vec<_>>>()?;
    let mut tape = Tape::new();
    let states = if let Record::Update(_, states) = case.record { states } else { 0 };
    let values = vars[states..].iter().map(|&var| tape.var(&store, var)).collect::<Result<Vec<_>>>()?;
    let keep = match &case.record {
        Record::Op(record, wanted) => {
            let output = record(&mut tape, &values)?;
            let leaves: Vec<_> = wanted.iter().map(|&at| values[at]).collect();
            let gradients = if leaves.is_empty() { Vec::new() } else { tape.gradients(output, &leaves)? };
            [output].into_iter().chain(gradients).collect()
        }
        Record::Update(record, _) => {
            record(&mut tape, &store, &vars[..states], &values)?;
            Vec::new()
        }
    };
    let plan = tape.plan_with(&mut store, &keep, false)?;
    allocations(device, || plan.replay(&mut store))
}

#[test]
fn no_op_allocates_in_a_replay() {
    for threads in [1, 2] {
        let device = Device::cpu(Some(threads)).unwrap();
        for op in kernels::registry() {
            let case = (op.random)(&mut Draw::new(7));
            let counted = allocations_of(&case, &device).unwrap();
            assert_eq!(counted, 0, "{} {} on {threads} threads", op.name, case.label);
        }
    }
}

fn net(threads: usize) -> Result<Net> {
    let config = config(24, 2, 2);
    let images = images(6, &config, 3)?;
    Net::new(
        Device::cpu(Some(threads))?,
        &config,
        &lively(&config, 1)?,
        engine::DType::F32,
        &images,
        &[0, 1, 2, 3, 4, 0],
    )
}

#[test]
fn training_and_attack_steps_allocate_nothing() {
    for checks in [false, true] {
        let mut net = net(2).unwrap();
        let device = net.store.device().clone();
        let (training, loss) = net.training(0.01, 0.9, 1e-4, 1.0, checks).unwrap();
        let (attack, attack_loss, _) = net.attack(8.0 / 255.0, 2.0 / 255.0, checks).unwrap();
        let mut read = [0.0_f32];
        let counted = allocations(&device, || {
            net.store.write_values(net.labels, &[0, 1, 2, 3, 4, 0])?;
            attack.replay(&mut net.store)?;
            attack.read_values(&net.store, attack_loss, &mut read)?;
            training.replay(&mut net.store)?;
            training.read_values(&net.store, loss, &mut read)
        });
        assert_eq!(counted.unwrap(), 0, "checks: {checks}");
        assert!(read[0].is_finite() && read[0] > 0.0);
    }
}

#[test]
fn dropping_gives_everything_back() {
    let device = Device::cpu(Some(1)).unwrap();
    let work = |device: Device| {
        let config = config(24, 1, 2);
        let images = images(2, &config, 3).unwrap();
        let tensors = lively(&config, 1).unwrap();
        let mut net = Net::new(device, &config, &tensors, engine::DType::F32, &images, &[0, 1]).unwrap();
        let (plan, loss) = net.training(0.01, 0.9, 1e-4, 1.0, true).unwrap();
        plan.replay(&mut net.store).unwrap();
        let held = plan.memory().total();
        assert!(HELD.get() > held.cast_signed(), "the counter does not see the store's {held} bytes");
        plan.read(&net.store, loss).unwrap();
    };
    work(device.clone()); // tables and detected features stay
    let before = HELD.get();
    work(device.clone()); // the device outlives the count: its pool was allocated before it
    assert_eq!(HELD.get() - before, 0);
}

#[test]
fn a_step_holds_what_its_plan_says() {
    let before = HELD.get();
    let mut net = net(2).unwrap();
    let (plan, _) = net.training(0.01, 0.9, 1e-4, 1.0, false).unwrap();
    let held = (HELD.get() - before).cast_unsigned();
    let memory = plan.memory();
    // The rest is bookkeeping: names, launches, the device.
    assert!(held >= memory.total() && held < memory.total() + (1 << 20), "{held} bytes for {memory:?}");
    assert!(memory.gradients > 0 && memory.optimizer >= memory.gradients && memory.parameters >= memory.gradients);
}

#[test]
fn the_arena_is_within_a_tenth_of_what_lives_at_the_peak() {
    let config = models::registry::lookup("deit_tiny_patch16_224").unwrap();
    let config = models::VitConfig { image: [32, 32], patch: 4, depth: 6, ..config };
    let images = images(8, &config, 3).unwrap();
    let tensors = models::init::init(&config, 1).unwrap();
    let device = Device::cpu(Some(2)).unwrap();
    let mut net = Net::new(device, &config, &tensors, engine::DType::F32, &images, &[0; 8]).unwrap();
    let (training, _) = net.training(0.01, 0.9, 1e-4, 1.0, false).unwrap();
    let (attack, ..) = net.attack(0.03, 0.01, false).unwrap();
    for plan in [&training, &attack] {
        let memory = plan.memory();
        assert!(10 * memory.arena <= 11 * memory.live_peak, "{memory:?}");
    }
    // An attack keeps what dx reads and none of what dw reads.
    assert!(attack.memory().arena < training.memory().arena);
}

/// The plan of one probe of that habit, with its gradients, replayed with checks.
fn replay(habit: Habit, threads: usize) -> Result<Vec<Tensor>> {
    let mut store = Store::new(Device::cpu(Some(threads))?)?;
    let a = store.constant("a", Role::Data, &random::<f64>(&[3, 5], 1, "a")?)?;
    let b = store.constant("b", Role::Data, &random::<f64>(&[3, 5], 1, "b")?)?;
    let mut tape = Tape::new();
    let (a, b) = (tape.var(&store, a)?, tape.var(&store, b)?);
    let output = tape.scope("blocks.3", |tape| tape.record(Probe(habit), &[a, b]))?;
    let mut keep = tape.gradients(output, &[a, b])?;
    keep.push(output);
    let plan = tape.plan_with(&mut store, &keep, true)?;
    plan.replay(&mut store)?;
    keep.iter().map(|&value| plan.read(&store, value)).collect()
}

#[test]
fn writing_beyond_a_buffer_is_caught_and_named() {
    assert!(replay(Habit::SquarePlus, 1).is_ok());
    for habit in [Habit::WritesBeyondOutput, Habit::WritesBeyondScratch] {
        let error = replay(habit, 1).unwrap_err().to_string();
        assert!(error.starts_with("blocks.3: probe: a kernel wrote beyond a buffer"), "{error}");
        let buffer = if habit == Habit::WritesBeyondOutput { "f64[3, 5]" } else { "u8[24]" };
        assert!(error.contains(buffer), "{error}");
    }
}

#[test]
fn reading_what_is_not_kept_is_an_error() {
    let error = replay(Habit::ReadsUnkept, 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "blocks.3: probe: buffer: a kernel reads a value that is not kept\n  value  f64[3, 5]\n  help: name it in the op's keeps()"
    );
}

#[test]
fn what_a_kernel_forgets_to_write_is_nan() {
    let [_, _, output] = replay(Habit::LeavesTheLast, 1).unwrap().try_into().unwrap();
    let values = output.to_f64();
    assert!(values[..14].iter().all(|value| value.is_finite()) && values[14].is_nan());
}
