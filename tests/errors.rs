//! What bad calls get: the op, every input, and what to do. Texts are compared whole where people meet them often.

mod support;

use engine::check::random;
use engine::rng::{Philox, STATE_WORDS};
use engine::shape::MAX_ELEMENTS;
use engine::{DType, Device, Error, Result, Role, Shape, Spec, Store, Tape, Tensor, Value};
use kernels::attention::attention;
use kernels::cases::{Draw, Record};
use kernels::cross_entropy::cross_entropy_labels;
use kernels::layer_norm::layer_norm;
use kernels::linear::linear;
use kernels::patch_embed::patch_embed;
use kernels::residual::residual;
use support::probes::Descend;

struct Desk {
    store: Store,
    tape: Tape,
}

fn desk() -> Desk {
    let device = Device::cpu(Some(1)).unwrap_or_else(|error| unreachable!("{error}"));
    let store = Store::new(device).unwrap_or_else(|error| unreachable!("{error}"));
    Desk { store, tape: Tape::new() }
}

impl Desk {
    fn value(&mut self, name: &str, dims: &[usize]) -> Value {
        self.typed(name, DType::F32, dims)
    }

    fn typed(&mut self, name: &str, dtype: DType, dims: &[usize]) -> Value {
        let var = self.store.data_var(name, dtype, dims);
        var.and_then(|var| self.tape.var(&self.store, var)).unwrap_or_else(|error| unreachable!("{error}"))
    }
}

fn text<T>(result: Result<T>) -> String {
    result.err().map_or_else(|| "no error".to_owned(), |error| error.to_string())
}

#[test]
fn shapes_that_do_not_fit() {
    let mut desk = desk();
    let x = desk.value("x", &[2, 5, 12]);
    let narrow = desk.value("narrow", &[7, 11]);
    let bias = desk.value("bias", &[7]);
    assert_eq!(
        text(linear(&mut desk.tape, x, narrow, Some(bias), None)),
        "linear: the shapes do not fit\n  x       f32[2, 5, 12]\n  weight  f32[7, 11]\n  bias    f32[7]\n  help: x is [.., k], weight [n, k], bias [n], all of one float type"
    );
    assert_eq!(
        text(desk.tape.scope("blocks.3", |tape| tape.scope("attn", |tape| attention(tape, x, 5)))),
        "blocks.3.attn: attention: the width is not a multiple of 3 x heads\n  qkv    f32[2, 5, 12]\n  heads  5\n  help: qkv is [b, n, 3 * heads * head width]"
    );
    assert_eq!(
        text(layer_norm(&mut desk.tape, x, bias, bias, 1e-6)),
        "layer_norm: the shapes do not fit\n  x       f32[2, 5, 12]\n  weight  f32[7]\n  bias    f32[7]\n  help: weight and bias have the length of x's last dimension"
    );
    assert_eq!(
        text(residual(&mut desk.tape, x, bias, None)),
        "residual: the shapes do not fit\n  x       f32[2, 5, 12]\n  branch  f32[7]\n  help: x and branch are alike, gamma is one row"
    );
    let images = desk.value("images", &[2, 3, 30, 32]);
    let kernel = desk.value("kernel", &[8, 3, 4, 4]);
    let error = text(patch_embed(&mut desk.tape, images, kernel, None));
    assert!(error.starts_with("patch_embed: ") && error.contains("f32[2, 3, 30, 32]"), "{error}");
    let wide = desk.typed("wide", DType::F64, &[7, 12]);
    let error = text(linear(&mut desk.tape, x, wide, None, None));
    assert!(error.contains("f64[7, 12]") && error.contains("all of one float type"), "{error}");
}

/// Records a case with its inputs' dimensions changed.
fn record_with(case: &kernels::cases::Case, dims: &[Vec<usize>], drop_last: bool) -> Result<()> {
    let Desk { mut store, mut tape } = desk();
    let mut vars = Vec::new();
    for (at, (input, dims)) in case.inputs.iter().zip(dims).enumerate() {
        vars.push(store.data_var(&format!("{at}"), input.dtype(), dims)?);
    }
    if drop_last {
        vars.pop();
    }
    let states = if let Record::Update(_, states) = case.record { states } else { 0 };
    let values = vars[states..].iter().map(|&var| tape.var(&store, var)).collect::<Result<Vec<_>>>()?;
    match &case.record {
        Record::Op(record, _) => record(&mut tape, &values).map(|_| ()),
        Record::Update(record, _) => record(&mut tape, &store, &vars[..states], &values),
    }
}

#[test]
fn every_op_refuses_dimensions_that_do_not_fit_and_says_which() {
    let mut lenient = Vec::new();
    for op in kernels::registry() {
        let mut refused = 0;
        for seed in 0..4 {
            let case = (op.random)(&mut Draw::new(seed));
            let right: Vec<Vec<usize>> = case.inputs.iter().map(|input| input.dims.clone()).collect();
            record_with(&case, &right, false).unwrap();
            for at in 0..right.len() {
                let longer = [right[at].clone(), vec![2]].concat();
                let mut wider = right[at].clone();
                if let Some(last) = wider.last_mut() {
                    *last += 1;
                }
                for other in [longer, wider] {
                    let mut dims = right.clone();
                    dims[at].clone_from(&other);
                    // Some changes only make another case: a longer batch, another class count.
                    let Err(error) = record_with(&case, &dims, false) else { continue };
                    refused += 1;
                    let message = error.to_string();
                    assert!(error.place().contains(op.name), "{}: the place is {}", op.name, error.place());
                    let listed = message.contains(&format!("{other:?}"));
                    assert!(listed, "{}: input {at} as {other:?} is not in the message: {message}", op.name);
                }
            }
        }
        if refused < 4 {
            lenient.push(op.name);
        }
    }
    // An elementwise op of one input takes any dimensions, and so does a norm.
    assert_eq!(lenient, ["activation", "cast", "global_norm"]);
}

#[test]
fn bad_values_are_errors_at_replay() {
    let Desk { mut store, mut tape } = desk();
    let logits = store.constant("logits", Role::Data, &random::<f32>(&[2, 3], 1, "z").unwrap()).unwrap();
    let labels = store.constant("labels", Role::Data, &Tensor::new(&[2], &[1, 3]).unwrap()).unwrap();
    let (logits, labels) = (tape.var(&store, logits).unwrap(), tape.var(&store, labels).unwrap());
    let loss = tape.scope("loss", |tape| cross_entropy_labels(tape, logits, labels, 0.0)).unwrap();
    let plan = tape.plan(&mut store, &[loss]).unwrap();
    let error = text(plan.replay(&mut store));
    assert!(error.starts_with("loss: cross_entropy") && error.contains('3'), "{error}");
    assert!(text(cross_entropy_labels(&mut tape, logits, labels, 1.0)).contains("label smoothing out of range"));
    assert!(text(layer_norm(&mut tape, logits, labels, labels, 1e-6)).starts_with("layer_norm: "));
}

#[test]
fn gradients_of_what_is_not_reached() {
    let mut desk = desk();
    let x = desk.value("x", &[4, 3]);
    let other = desk.value("other", &[4, 3]);
    let weight = desk.value("weight", &[2, 3]);
    let labels = desk.typed("labels", DType::I32, &[4]);
    let Desk { mut store, mut tape } = desk;
    let logits = tape.scope("head", |tape| linear(tape, x, weight, None, None)).unwrap();
    let loss = cross_entropy_labels(&mut tape, logits, labels, 0.0).unwrap();
    assert_eq!(
        text(tape.gradients(loss, &[x, other, weight, labels])),
        "backward: no gradient reaches these values from the output\n  output       cross_entropy\n  not reached  other/other\n  not reached  labels/labels\n  help: is the value cut off by a non-differentiable input, or not part of this computation?"
    );
    let entry = |name: &str| (name.to_owned(), Spec::new(DType::F32, &[3]).unwrap());
    let group = store.group("params", Role::Parameter, &[entry("unused")]).unwrap();
    let error = text(tape.backward(loss, None, &[x], &[(&store, group)]));
    assert!(error.contains("not reached  params/unused"), "{error}");
    let error = text(tape.backward(loss, Some(x), &[x], &[]));
    assert_eq!(error, "backward: the seed must have the output's spec\n  output  f32[4]\n  seed    f32[4, 3]");
    // Nothing was recorded by the failed attempts.
    assert_eq!(tape.plan(&mut store, &[loss]).unwrap().launches().count(), 2);
}

#[test]
fn second_derivatives() {
    let mut desk = desk();
    let x = desk.value("x", &[4, 3]);
    let weight = desk.value("weight", &[3, 3]);
    let y = linear(&mut desk.tape, x, weight, None, None).unwrap();
    let dx = desk.tape.gradients(y, &[x]).unwrap()[0];
    let z = residual(&mut desk.tape, y, dx, None).unwrap();
    let error = text(desk.tape.gradients(z, &[weight]));
    assert!(
        error.starts_with("backward: the output depends on a gradient: second derivatives do not exist"),
        "{error}"
    );
    assert!(error.contains("gradient  d x/x") && error.contains("copy the gradient to a variable"), "{error}");
}

#[test]
fn a_backward_pass_that_would_read_an_updated_variable() {
    let mut desk = desk();
    let x = desk.typed("x", DType::F64, &[4, 3]);
    let w = desk.store.data_var("w", DType::F64, &[3, 3]).unwrap();
    let Desk { mut store, mut tape } = desk;
    let weight = tape.var(&store, w).unwrap();
    let y = tape.scope("fc", |tape| linear(tape, x, weight, None, None)).unwrap();
    let dw = tape.gradients(y, &[weight]).unwrap()[0];
    tape.update(&store, Descend(0.1), &[w], &[dw]).unwrap();
    let late = tape.gradients(y, &[x]).unwrap()[0];
    assert_eq!(
        text(tape.plan(&mut store, &[late])),
        "fc: linear: the backward pass would read a variable after an update changed it\n  variable  w/w\n  help: record the update after the gradients"
    );
    // Nobody asks for that gradient: nothing reads the variable.
    tape.plan(&mut store, &[]).unwrap();
    assert_eq!(
        text(tape.update(&store, Descend(0.1), &[w], &[weight])),
        "descend: a variable that an update writes may not be another of its operands\n  variable  w/w"
    );
}

#[test]
fn reading_a_plan() {
    let mut desk = desk();
    let x = desk.value("x", &[4, 3]);
    let weight = desk.value("weight", &[3, 3]);
    let Desk { mut store, mut tape } = desk;
    let y = linear(&mut tape, x, weight, None, None).unwrap();
    let z = residual(&mut tape, x, y, None).unwrap();
    let first = tape.plan(&mut store, &[z]).unwrap();
    let second = tape.plan(&mut store, &[y]).unwrap();
    let stale = "plan: another plan has been replayed since, or this one never ran to its end\n  help: read a plan's values before the next replay";
    assert_eq!(text(first.read(&store, z)), stale);
    first.replay(&mut store).unwrap();
    first.read(&store, z).unwrap();
    assert_eq!(
        text(first.read(&store, y)),
        "plan: the value is not kept by this plan\n  help: name it in Tape::plan(store, keep)"
    );
    second.replay(&mut store).unwrap();
    assert_eq!(text(first.read(&store, z)), stale);
    let mut short = [0.0_f32; 5];
    assert_eq!(
        text(second.read_values(&store, y, &mut short)),
        "plan: the slice does not fit the value\n  value  f32[4, 3]\n  slice  f32[5]"
    );
    // A larger plan moves the arena: what lay there is gone.
    first.replay(&mut store).unwrap();
    let other = store.data_var("large", DType::F32, &[400, 3]).unwrap();
    let large = tape.var(&store, other).unwrap();
    let doubled = residual(&mut tape, large, large, None).unwrap();
    tape.plan(&mut store, &[doubled]).unwrap();
    assert_eq!(text(first.read(&store, z)), stale);
}

#[test]
fn what_belongs_to_another_tape_or_store() {
    let (mut one, mut two) = (desk(), desk());
    let x = one.value("x", &[4, 3]);
    let same_place = two.value("x", &[4, 3]);
    let tape_error = "tape: the value belongs to another tape";
    assert_eq!(text(residual(&mut two.tape, same_place, x, None)), tape_error);
    assert_eq!(text(two.tape.spec(x)), tape_error);
    assert_eq!(text(two.tape.plan(&mut two.store, &[x])), tape_error);
    let y = residual(&mut two.tape, same_place, same_place, None).unwrap();
    assert_eq!(text(two.tape.gradients(x, &[same_place])), tape_error);
    assert_eq!(text(two.tape.gradients(y, &[x])), tape_error);

    let store_error = "store: the variable belongs to another store";
    let var = one.store.data_var("v", DType::F32, &[2]).unwrap();
    two.store.data_var("v", DType::F32, &[2]).unwrap();
    assert_eq!(text(two.store.read(var)), store_error);
    assert_eq!(text(two.store.write_values(var, &[1.0_f32, 2.0])), store_error);
    assert_eq!(text(two.tape.var(&two.store, var)), store_error);
    assert_eq!(two.store.name(var), "a variable of another store");

    let plan = two.tape.plan(&mut two.store, &[y]).unwrap();
    assert_eq!(text(plan.replay(&mut one.store)), "plan: the plan was made for another store");
    plan.replay(&mut two.store).unwrap();
    assert_eq!(text(plan.read(&one.store, y)), "plan: the plan was made for another store");
    assert_eq!(
        text(plan.read(&two.store, x)),
        "plan: the value is not kept by this plan\n  help: name it in Tape::plan(store, keep)"
    );
}

#[test]
fn stores_shapes_and_devices() {
    let mut store = desk().store;
    let spec = |dtype, dims: &[usize]| Spec::new(dtype, dims).unwrap();
    let pair = |a: (&str, Spec), b: (&str, Spec)| [(a.0.to_owned(), a.1), (b.0.to_owned(), b.1)];
    let two = pair(("w", spec(DType::F32, &[2])), ("w", spec(DType::F32, &[3])));
    assert_eq!(
        text(store.group("params", Role::Parameter, &two)),
        "store: two variables have one name\n  group     params\n  variable  w"
    );
    let mixed = pair(("w", spec(DType::F32, &[2])), ("b", spec(DType::F64, &[3])));
    assert!(text(store.group("params", Role::Parameter, &mixed)).contains("share one dtype"));
    assert!(text(store.group("params", Role::Parameter, &[])).contains("a group needs a variable"));
    let huge = vec![spec(DType::F64, &[MAX_ELEMENTS]); 9];
    let huge: Vec<_> = huge.into_iter().enumerate().map(|(at, spec)| (at.to_string(), spec)).collect();
    assert!(text(store.group("params", Role::Parameter, &huge)).contains("overflow the address space"));
    let most = [("w".to_owned(), spec(DType::F64, &[MAX_ELEMENTS]))];
    let refused = text(store.group("params", Role::Parameter, &most));
    assert!(refused.contains("out of memory") || refused.contains("too many dimensions or elements"), "{refused}");
    let var = store.data_var("x", DType::F32, &[2, 3]).unwrap();
    assert_eq!(
        text(store.write(var, &Tensor::new(&[3, 2], &[0.0_f32; 6]).unwrap())),
        "store: the tensor does not fit the variable\n  x/x     f32[2, 3]\n  tensor  f32[3, 2]"
    );
    let (a, b) = ([("a".to_owned(), spec(DType::F32, &[8, 2]))], [("a".to_owned(), spec(DType::F32, &[2, 8]))]);
    let a = store.group("one", Role::Parameter, &a).unwrap();
    let b = store.group("other", Role::Parameter, &b).unwrap();
    assert!(text(store.copy_group(a, b)).contains("different layouts"));
    assert_eq!(text(Shape::new(&[usize::MAX, 3])).lines().next(), Some("shape: too many dimensions or elements"));
    assert_eq!(text(Device::cpu(Some(0))), "--threads: 0 threads can't compute\n  help: give 1 or more");
}

#[test]
fn nine_inputs_are_too_many() {
    let mut desk = desk();
    let x = desk.value("x", &[2]);
    let terms = vec![(1.0, x); 9];
    let error = text(kernels::combine::combine(&mut desk.tape, &terms));
    assert!(error.starts_with("combine: ") && error.contains('9') && error.contains('8'), "{error}");
}

#[test]
fn random_states_have_four_words() {
    let mut desk = desk();
    let x = desk.value("x", &[2, 3, 4]);
    let keep = desk.value("keep", &[1]);
    let state = desk.typed("state", DType::U32, &[3]);
    let error = text(kernels::grad_gate::grad_gate(&mut desk.tape, x, state, keep, "gate"));
    assert!(error.starts_with("grad_gate: ") && error.contains("u32[3]"), "{error}");
    assert_eq!(Philox::state(1 << 32, 7), [0, 1, 7, 0]);
    assert_eq!(STATE_WORDS, 4);
}

#[test]
fn errors_are_small_and_say_where() {
    let error = Error::new("linear", "inner widths differ").with("x", "f32[2]").within("blocks.0");
    assert_eq!((error.place(), error.problem()), ("blocks.0: linear", "inner widths differ"));
    assert_eq!(format!("{error:?}"), error.to_string());
    assert_eq!(size_of::<Error>(), size_of::<usize>(), "a result is no larger for it");
}
