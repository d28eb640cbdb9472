//! The planner: random graphs against central differences, and what it promises beyond right gradients.

mod support;

use std::time::Duration;

use engine::check::{nmse, random};
use engine::{
    Device, Exec, Group, Phase, Plan, Result, Role, Spec, Store, Tape, Target, Tensor, Update, UpdateIo, Value, Var,
    Work,
};
use kernels::cases::Draw;
use kernels::layer_norm::layer_norm;
use kernels::linear::{Activation, linear};
use kernels::residual::residual;
use proptest::prelude::*;
use support::graph::{GROUPS, Graph};
use support::probes::{Descend, Habit, Probe};

fn device() -> Device {
    Device::cpu(Some(1)).unwrap_or_else(|error| unreachable!("{error}"))
}

/// The gradient of a pass's output.
#[derive(Clone, Copy, Debug)]
enum Seed {
    Ones,
    Variable,
    Value(usize),
}

#[derive(Clone, Debug)]
struct Pass {
    output: usize,
    seed: Seed,
    targets: Vec<usize>,
    groups: Vec<usize>,
}

fn random_pass(graph: &Graph, draw: &mut Draw) -> Pass {
    let last = graph.tokens.len() - 1;
    let output = graph.tokens[if draw.flag() { last } else { draw.range(0, last) }];
    let reached = graph.ancestors(output);
    let targets = reached.iter().copied().filter(|_| draw.range(0, 2) > 0).collect();
    let whole = |group: &usize| graph.members(*group).iter().all(|leaf| reached.contains(leaf));
    let groups = (0..GROUPS).filter(whole).collect();
    let value = draw.pick(&graph.tokens);
    let seed = draw.pick(&[Seed::Ones, Seed::Variable, Seed::Value(value)]);
    Pass { output, seed, targets, groups }
}

/// A graph with its leaves in a store.
struct Bench {
    store: Store,
    tape: Tape,
    vars: Vec<Var>,
    groups: Vec<Group>,
    leaves: Vec<Value>,
}

fn bench(graph: &Graph) -> Result<Bench> {
    let mut store = Store::new(device())?;
    let mut groups = Vec::new();
    for group in 0..GROUPS {
        let entries: Vec<_> = graph
            .members(group)
            .into_iter()
            .map(|leaf| (graph.leaves[leaf].name.clone(), graph.leaves[leaf].tensor.spec()))
            .collect();
        groups.push(store.group(&format!("group{group}"), Role::Parameter, &entries)?);
    }
    let mut tape = Tape::new();
    let (mut vars, mut leaves) = (Vec::new(), Vec::new());
    for leaf in &graph.leaves {
        let var = match leaf.group {
            Some(group) => store.find(groups[group], &leaf.name)?,
            None => store.single(&leaf.name, Role::Data, leaf.tensor.spec())?,
        };
        store.write(var, &leaf.tensor)?;
        vars.push(var);
        leaves.push(tape.var(&store, var)?);
    }
    Ok(Bench { store, tape, vars, groups, leaves })
}

/// What a pass gives, and the gradient that it started from.
struct Outcome {
    seed: Tensor,
    targets: Vec<Tensor>,
    groups: Vec<Tensor>,
}

/// Runs all passes on one tape, twice, and then once for each result alone.
fn run(graph: &Graph, passes: &[Pass], seed: u64, checks: bool) -> Result<Vec<Outcome>> {
    let Bench { mut store, mut tape, groups, leaves, .. } = bench(graph)?;
    let values = graph.record(&mut tape, &leaves, None)?;
    let mut keep = Vec::new();
    let mut seeds = Vec::new();
    let mut results = Vec::new();
    for (index, pass) in passes.iter().enumerate() {
        let output = values[pass.output];
        let dims = tape.spec(output)?;
        let start = match pass.seed {
            Seed::Ones => None,
            Seed::Variable => {
                let tensor = random::<f64>(dims.dims(), seed, &format!("cotangent {index}"))?;
                let var = store.constant(&format!("seed{index}"), Role::Data, &tensor)?;
                Some(tape.var(&store, var)?)
            }
            Seed::Value(value) => Some(values[value]),
        };
        let wanted: Vec<Value> = pass.targets.iter().map(|&target| values[target]).collect();
        let flat: Vec<(&Store, Group)> = pass.groups.iter().map(|&group| (&store, groups[group])).collect();
        let gradients = tape.backward(output, start, &wanted, &flat)?;
        keep.extend(gradients.values.iter().chain(&gradients.groups).chain(&start));
        seeds.push(start);
        results.push(gradients);
    }
    let plan = tape.plan_with(&mut store, &keep, checks)?;
    plan.replay(&mut store)?;
    let first: Vec<Tensor> = keep.iter().map(|&value| plan.read(&store, value)).collect::<Result<_>>()?;
    plan.replay(&mut store)?;
    let mut outcomes = Vec::new();
    for ((pass, gradients), start) in passes.iter().zip(&results).zip(&seeds) {
        let read = |value: &Value| plan.read(&store, *value);
        let seed = match start {
            Some(value) => read(value)?,
            None => Tensor::from_fn(tape.spec(values[pass.output])?.dims(), |_| 1.0_f64)?,
        };
        let targets = gradients.values.iter().map(read).collect::<Result<_>>()?;
        outcomes.push(Outcome { seed, targets, groups: gradients.groups.iter().map(read).collect::<Result<_>>()? });
    }
    for (&value, first) in keep.iter().zip(&first) {
        assert_eq!(plan.read(&store, value)?.bytes(), first.bytes(), "a second replay gives other bits");
    }
    for (&value, first) in keep.iter().zip(&first) {
        let alone = tape.plan_with(&mut store, &[value], checks)?;
        alone.replay(&mut store)?;
        // Not bit for bit: a bias gradient without its weight's is summed in another order.
        let error = nmse(&alone.read(&store, value)?.to_f64(), &first.to_f64());
        assert!(
            error < 1e-20 || first.to_f64().iter().all(|x| x.abs() < 1e-13),
            "alone a result is another: {error:e}"
        );
    }
    Ok(outcomes)
}

/// Relative error of <gradient, u> against central differences of <seed, output> as `target` moves along u.
fn difference(graph: &Graph, pass: &Pass, cotangent: &Tensor, target: usize, gradient: &Tensor) -> Result<f64> {
    let Bench { mut store, mut tape, vars, leaves, .. } = bench(graph)?;
    let (var, base, cut) = if let Some(leaf) = graph.leaves.get(target) {
        (vars[target], leaf.tensor.clone(), None)
    } else {
        let values = graph.record(&mut tape, &leaves, None)?;
        let plan = tape.plan(&mut store, &[values[target]])?;
        plan.replay(&mut store)?;
        let base = plan.read(&store, values[target])?;
        let var = store.single("cut", Role::Data, base.spec())?;
        tape = Tape::new();
        (var, base, Some(var))
    };
    let leaves = vars.iter().map(|&var| tape.var(&store, var)).collect::<Result<Vec<_>>>()?;
    let cut = cut.map(|var| tape.var(&store, var)).transpose()?.map(|value| (target, value));
    let output = graph.record(&mut tape, &leaves, cut)?[pass.output];
    let plan = tape.plan(&mut store, &[output])?;
    let u = random::<f64>(base.dims(), 5, "direction")?;
    let dot = |a: &Tensor, b: &Tensor| -> f64 { a.to_f64().iter().zip(b.to_f64()).map(|(a, b)| a * b).sum() };
    let mut moved = |step: f64| -> Result<f64> {
        let mut tensor = base.clone();
        for (x, &u) in tensor.values_mut::<f64>()?.iter_mut().zip(u.values::<f64>()?) {
            *x += step * u;
        }
        store.write(var, &tensor)?;
        plan.replay(&mut store)?;
        Ok(dot(&plan.read(&store, output)?, cotangent))
    };
    let h = 2e-4;
    let numeric = (8.0 * (moved(h)? - moved(-h)?) - (moved(2.0 * h)? - moved(-2.0 * h)?)) / (12.0 * h);
    let exact = dot(gradient, &u);
    let norms = (dot(gradient, gradient) * dot(&u, &u)).sqrt();
    Ok((numeric - exact).abs() / numeric.abs().max(exact.abs()).max(1e-2 * norms).max(1e-9))
}

/// Cuts a flat gradient into its variables, and sees that the gaps between them are zero.
fn cut_flat(graph: &Graph, group: usize, flat: &Tensor) -> Result<Vec<Tensor>> {
    let values = flat.values::<f64>()?;
    let (mut at, mut gaps, mut parts) = (0, 0, Vec::new());
    for leaf in graph.members(group) {
        let spec = graph.leaves[leaf].tensor.spec();
        let end = at + spec.elements();
        parts.push(Tensor::new(spec.dims(), &values[at..end])?);
        at = end.next_multiple_of(8); // 64 bytes
        gaps += at - end;
        assert!(values[end..at].iter().all(|gap| gap.to_bits() == 0), "a gap of a flat gradient is not zero");
    }
    assert!(gaps > 0 && at == values.len(), "sizes that fill their alignment test nothing");
    Ok(parts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn gradients_of_random_graphs_agree_with_differences(seed in any::<u64>()) {
        let mut draw = Draw::new(seed);
        let graph = Graph::random(&mut draw, seed).unwrap();
        let passes: Vec<Pass> = (0..draw.range(1, 3)).map(|_| random_pass(&graph, &mut draw)).collect();
        let outcomes = run(&graph, &passes, seed, true).unwrap();
        let plain = run(&graph, &passes, seed, false).unwrap();
        for (pass, (outcome, plain)) in passes.iter().zip(outcomes.iter().zip(&plain)) {
            let mut gradients: Vec<(usize, Tensor)> =
                pass.targets.iter().copied().zip(outcome.targets.iter().cloned()).collect();
            prop_assert_eq!(&outcome.targets, &plain.targets);
            prop_assert_eq!(&outcome.groups, &plain.groups);
            for (&group, flat) in pass.groups.iter().zip(&outcome.groups) {
                gradients.extend(graph.members(group).into_iter().zip(cut_flat(&graph, group, flat).unwrap()));
            }
            for (target, gradient) in &gradients {
                let error = difference(&graph, pass, &outcome.seed, *target, gradient).unwrap();
                prop_assert!(error < 1e-6, "value {target}: relative error {error:e}: {pass:?} {graph:?}");
            }
        }
    }
}

/// `layer_norm(x) -> linear -> linear` with a loss; the weights frozen or not.
struct Chain {
    store: Store,
    tape: Tape,
    x: Value,
    params: Group,
    weights: Vec<Value>,
    output: Value,
}

fn chain() -> Result<Chain> {
    let mut store = Store::new(device())?;
    let tensors = [("norm.weight", vec![6]), ("norm.bias", vec![6]), ("fc1", vec![10, 6]), ("fc2", vec![6, 10])];
    let tensors: Vec<(String, Tensor)> = tensors
        .iter()
        .map(|(name, dims)| Ok(((*name).to_owned(), random::<f64>(dims, 1, name)?)))
        .collect::<Result<_>>()?;
    let entries: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.spec())).collect();
    let params = store.group("params", Role::Parameter, &entries)?;
    let input = store.constant("x", Role::Data, &random::<f64>(&[4, 6], 1, "x")?)?;
    let mut tape = Tape::new();
    let x = tape.var(&store, input)?;
    let mut weights = Vec::new();
    for (name, tensor) in &tensors {
        let var = store.find(params, name)?;
        store.write(var, tensor)?;
        weights.push(tape.var(&store, var)?);
    }
    let normed = tape.scope("norm", |tape| layer_norm(tape, x, weights[0], weights[1], 1e-3))?;
    let hidden = tape.scope("fc1", |tape| linear(tape, normed, weights[2], None, None))?;
    let branch = tape.scope("fc2", |tape| linear(tape, hidden, weights[3], None, None))?;
    let output = residual(&mut tape, x, branch, None)?;
    Ok(Chain { store, tape, x, params, weights, output })
}

fn backward_lines(plan: &Plan) -> Vec<String> {
    plan.to_string().lines().filter(|line| line.contains(" backward ")).map(str::to_owned).collect()
}

#[test]
fn frozen_weights_cost_nothing() {
    let Chain { mut store, mut tape, x, params, output, .. } = chain().unwrap();
    let attack = tape.backward(output, None, &[x], &[]).unwrap();
    let training = tape.backward(output, None, &[], &[(&store, params)]).unwrap();
    let forward = tape.plan(&mut store, &[output]).unwrap();
    let attack = tape.plan(&mut store, &attack.values).unwrap();
    let training = tape.plan(&mut store, &training.groups).unwrap();

    // The gradient of x goes through two products; no launch writes the gradient of a weight.
    let lines = backward_lines(&attack);
    assert!(lines.iter().any(|line| line.contains("fc1: linear") && line.contains("d0")));
    assert!(lines.iter().all(|line| !line.contains("d1 ") && !line.contains("d2 ")), "{lines:?}");
    let products = 2 * (2 * 4 * 6 * 10);
    let norm = 9 * 24;
    let seed_and_sum = attack.work().flops - forward.work().flops - products - norm;
    assert!(seed_and_sum <= 24, "{}", attack);
    assert_eq!(attack.memory().gradients, 0);

    // Training wants three more products, and x's gradient is nobody's: the first norm gives none.
    let lines = backward_lines(&training);
    assert!(lines.iter().any(|line| line.contains("norm: layer_norm") && line.contains("d1") && !line.contains("d0")));
    assert!(training.work().flops >= forward.work().flops + 4 * (2 * 4 * 6 * 10) - (2 * 4 * 6 * 10));
    assert!(training.memory().gradients >= (12 + 60 + 60) * 8);
}

#[test]
fn a_slope_rides_in_the_product_that_gives_the_gradient() {
    let Chain { mut store, mut tape, x, weights, .. } = chain().unwrap();
    let hidden = tape.scope("fc1", |tape| linear(tape, x, weights[2], None, Some(Activation::Gelu))).unwrap();
    let output = tape.scope("fc2", |tape| linear(tape, hidden, weights[3], None, None)).unwrap();
    let twice = residual(&mut tape, output, output, None).unwrap();
    let beside = tape.scope("fc3", |tape| linear(tape, hidden, weights[3], None, None)).unwrap();
    let both = residual(&mut tape, twice, beside, None).unwrap();
    let mut backward = |value: Value, wanted: &[Value]| {
        let gradients = tape.gradients(value, wanted).unwrap();
        backward_lines(&tape.plan(&mut store, &gradients).unwrap())
    };
    let count = |lines: &[String], text: &str| lines.iter().filter(|line| line.contains(text)).count();
    let alone = backward(twice, &[x]);
    assert_eq!((count(&alone, "times a slope"), count(&alone, "Multiply")), (1, 0), "{alone:#?}");
    // Two products contribute, or somebody asks for the gradient as it is: then a launch of its own multiplies.
    let sum = backward(both, &[x]);
    assert_eq!((count(&sum, "times a slope"), count(&sum, "Multiply")), (0, 1), "{sum:#?}");
    let read = backward(twice, &[x, hidden]);
    assert_eq!((count(&read, "times a slope"), count(&read, "Multiply")), (0, 1), "{read:#?}");
    assert_eq!(count(&read, "Copy"), count(&alone, "Copy") + 1, "{read:#?}");
}

#[test]
fn what_nobody_needs_is_not_launched() {
    let Chain { mut store, mut tape, x, weights, output, .. } = chain().unwrap();
    let aside = tape.scope("aside", |tape| residual(tape, x, x, None)).unwrap();
    let tail = tape.scope("tail", |tape| linear(tape, output, weights[2], None, None)).unwrap();
    let gradients = tape.gradients(tail, &[output, weights[2]]).unwrap();
    let plan = tape.plan(&mut store, &[gradients[0]]).unwrap();
    let launches: Vec<(&str, Phase)> = plan.launches().collect();
    assert!(launches.iter().all(|(path, _)| !path.starts_with("aside")));
    assert!(launches.iter().all(|&(path, phase)| phase != Phase::Backward || path.starts_with("tail")), "{launches:?}");
    let listing = tape.plan(&mut store, &[aside]).unwrap().to_string();
    assert!(listing.contains("aside: residual") && listing.contains("1 launches"), "{listing}");
}

#[test]
fn an_unused_branch_keeps_nothing_for_backward() {
    // The clean branch of a loss over two branches: computed, but no pass goes through it.
    let Chain { mut store, mut tape, weights, output, .. } = chain().unwrap();
    let clean = linear(&mut tape, output, weights[2], None, Some(kernels::linear::Activation::Gelu)).unwrap();
    let alone = tape.plan_with(&mut store, &[clean], false).unwrap().memory().live_peak;
    let gradient = tape.gradients(output, &[weights[2]]).unwrap()[0];
    let both = tape.plan_with(&mut store, &[clean, gradient], false).unwrap();
    let only = tape.plan_with(&mut store, &[gradient], false).unwrap();
    let slope = 4 * 10 * 8;
    let bound = alone.max(only.memory().live_peak) + slope + 64;
    assert!(both.memory().live_peak < bound + slope, "{both}");
    both.replay(&mut store).unwrap();
}

#[test]
fn updates_run_in_their_order_and_gradients_before_them_see_the_old_values() {
    let Chain { mut store, mut tape, params, output, .. } = chain().unwrap();
    let flat = store.flat(params);
    let first = tape.backward(output, None, &[], &[(&store, params)]).unwrap().groups[0];
    tape.update(&store, Descend(0.1), &[flat], &[first]).unwrap();
    let plan = tape.plan(&mut store, &[first, output]).unwrap();
    let before = store.read(flat).unwrap().to_f64();
    plan.replay(&mut store).unwrap();
    let gradient = plan.read(&store, first).unwrap().to_f64();
    let after = store.read(flat).unwrap().to_f64();
    assert!(gradient.iter().any(|&value| value != 0.0));
    for ((before, gradient), after) in before.iter().zip(&gradient).zip(&after) {
        assert_eq!(before - 0.1 * gradient, *after);
    }
    let old = plan.read(&store, output).unwrap();
    plan.replay(&mut store).unwrap();
    assert_ne!(plan.read(&store, output).unwrap(), old, "the second replay computes with the updated weights");
}

#[test]
fn two_steps_on_one_tape_equal_two_replays_of_one() {
    let step = |chain: &mut Chain, output: Value| {
        let gradient = chain.tape.backward(output, None, &[], &[(&chain.store, chain.params)]).unwrap().groups[0];
        chain.tape.update(&chain.store, Descend(0.05), &[chain.store.flat(chain.params)], &[gradient]).unwrap();
    };
    let forward = |chain: &mut Chain| {
        let hidden = linear(&mut chain.tape, chain.x, chain.weights[2], None, None).unwrap();
        let branch = linear(&mut chain.tape, hidden, chain.weights[3], None, None).unwrap();
        layer_norm(&mut chain.tape, branch, chain.weights[0], chain.weights[1], 1e-3).unwrap()
    };
    let mut once = chain().unwrap();
    let output = forward(&mut once);
    step(&mut once, output);
    let plan = once.tape.plan(&mut once.store, &[]).unwrap();
    plan.replay(&mut once.store).unwrap();
    plan.replay(&mut once.store).unwrap();

    let mut twice = chain().unwrap();
    for _ in 0..2 {
        let output = forward(&mut twice);
        step(&mut twice, output);
    }
    twice.tape.plan(&mut twice.store, &[]).unwrap().replay(&mut twice.store).unwrap();
    let weights = |chain: &Chain| chain.store.read(chain.store.flat(chain.params)).unwrap();
    assert_eq!(weights(&once), weights(&twice));
}

#[test]
fn a_gradient_that_equals_its_seed_outlives_a_change_of_the_seed() {
    let mut store = Store::new(device()).unwrap();
    let [x, y, seed] = ["x", "y", "seed"]
        .map(|name| store.constant(name, Role::Data, &random::<f64>(&[5], 3, name).unwrap()).unwrap());
    let mut tape = Tape::new();
    let [a, b, cotangent] = [x, y, seed].map(|var| tape.var(&store, var).unwrap());
    let sum = residual(&mut tape, a, b, None).unwrap();
    let gradients = tape.backward(sum, Some(cotangent), &[a, sum], &[]).unwrap().values;
    tape.update(&store, Descend(1.0), &[seed], &[sum]).unwrap();
    let plan = tape.plan(&mut store, &gradients).unwrap();
    let old = store.read(seed).unwrap();
    plan.replay(&mut store).unwrap();
    assert_ne!(store.read(seed).unwrap(), old);
    for gradient in gradients {
        assert_eq!(plan.read(&store, gradient).unwrap(), old);
    }
}

#[test]
fn a_failed_replay_leaves_nothing_to_read() {
    let mut store = Store::new(device()).unwrap();
    let x = store.constant("x", Role::Data, &random::<f64>(&[5], 3, "x").unwrap()).unwrap();
    let mut tape = Tape::new();
    let x = tape.var(&store, x).unwrap();
    let fine = tape.record(Probe(Habit::SquarePlus), &[x, x]).unwrap();
    let fails = tape.record(Probe(Habit::Fails), &[fine, x]).unwrap();
    let plan = tape.plan(&mut store, &[fine, fails]).unwrap();
    assert!(plan.replay(&mut store).unwrap_err().to_string().contains("fails as it was told"));
    assert!(plan.read(&store, fine).unwrap_err().to_string().contains("never ran to its end"));
}

/// Takes its time.
#[derive(Debug)]
struct Slow(Duration);

impl Update for Slow {
    fn name(&self) -> &'static str {
        "slow"
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

    fn run(&self, _exec: &mut Exec, _io: UpdateIo) -> Result<()> {
        std::thread::sleep(self.0);
        Ok(())
    }
}

#[test]
fn the_time_of_a_phase_is_that_of_all_its_launches() {
    let mut store = Store::new(device()).unwrap();
    let x = store.constant("x", Role::Data, &Tensor::new(&[2], &[1.0_f32, 2.0]).unwrap()).unwrap();
    let mut tape = Tape::new();
    for _ in 0..3 {
        tape.update(&store, Slow(Duration::from_millis(5)), &[x], &[]).unwrap();
    }
    let plan = tape.plan_with(&mut store, &[], false).unwrap();
    let before = || {
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    };
    let time = plan.time(&mut store, Some(Phase::Update), before).unwrap();
    assert!(time >= Duration::from_millis(15) && time < Duration::from_secs(1), "{time:?}");
    let error = plan.time(&mut store, Some(Phase::Backward), || Ok(())).unwrap_err().to_string();
    assert!(error.contains("no launch to time"), "{error}");
}
