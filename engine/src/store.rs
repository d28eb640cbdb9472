//! Variables that outlive a plan: parameters, optimizer state, inputs, the perturbation of an attack.
//!
//! A group of variables is one piece of device memory, so that an optimizer updates a whole network in one launch.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::device::{Device, Place, Slab};
use crate::dtype::{DType, Element};
use crate::error::{Error, Result};
use crate::shape::{Shape, Spec};
use crate::tensor::Tensor;

/// What a group is for: memory listings add up by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Trained weights, their averages and copies.
    Parameter,
    /// State of an optimizer.
    Optimizer,
    /// Inputs, perturbations, counters.
    Data,
}

/// A group of variables in a [`Store`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Group {
    store: u32,
    index: u32,
}

/// A variable in a [`Store`], or a whole group seen as one vector.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Var {
    group: Group,
    entry: Option<u32>,
}

impl Var {
    /// The group that it belongs to.
    pub fn group(self) -> Group {
        self.group
    }

    /// Whether the two share memory.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.group == other.group && (self.entry.is_none() || other.entry.is_none() || self.entry == other.entry)
    }
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    spec: Spec,
    offset: usize, // bytes
}

struct GroupData {
    name: String,
    role: Role,
    entries: Vec<Entry>,
    flat: Spec,
    slab: Slab,
}

/// Variables on one device, and the arena that plans on that device share.
pub struct Store {
    id: u32,
    device: Device,
    groups: Vec<GroupData>,
    arena: Slab,
    arena_owner: u64,
    plans: u64,
}

impl Store {
    /// An empty store.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn new(device: Device) -> Result<Self> {
        let arena = device.memory().alloc(0)?;
        static STORES: AtomicU32 = AtomicU32::new(0);
        let id = STORES.fetch_add(1, Ordering::Relaxed);
        Ok(Self { id, device, groups: Vec::new(), arena, arena_owner: 0, plans: 0 })
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A new group of zeroed variables of one dtype, laid out in order, each at the device's alignment.
    ///
    /// # Errors
    /// No entries, two dtypes, two equal names, or out of memory.
    pub fn group(&mut self, name: &str, role: Role, entries: &[(String, Spec)]) -> Result<Group> {
        let fail = |problem: &str| Error::new("store", problem).with("group", name);
        let dtype = entries.first().map(|(_, spec)| spec.dtype).ok_or_else(|| fail("a group needs a variable"))?;
        self.device.check_dtype(dtype).map_err(|error| error.with("group", name))?;
        let mut offset = 0_usize;
        let mut laid: Vec<Entry> = Vec::with_capacity(entries.len());
        for (entry, spec) in entries {
            if spec.dtype != dtype {
                return Err(fail("the variables of a group share one dtype").with(entry, spec).with("first", dtype));
            }
            laid.push(Entry { name: entry.clone(), spec: *spec, offset });
            offset = offset
                .checked_add(spec.bytes())
                .and_then(|end| end.checked_next_multiple_of(self.device.alignment()))
                .ok_or_else(|| fail("the variables overflow the address space").with(entry, spec))?;
        }
        let mut names: Vec<&str> = entries.iter().map(|(entry, _)| entry.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(fail("two variables have one name").with("variable", pair[0]));
        }
        let flat = Spec { shape: Shape::new(&[offset / dtype.size()])?, dtype };
        let slab = self.device.memory().alloc(offset)?;
        let index = u32::try_from(self.groups.len()).map_err(|_| fail("too many groups"))?;
        self.groups.push(GroupData { name: name.to_owned(), role, entries: laid, flat, slab });
        Ok(Group { store: self.id, index })
    }

    /// A group that holds one variable.
    ///
    /// # Errors
    /// As [`Store::group`].
    pub fn single(&mut self, name: &str, role: Role, spec: Spec) -> Result<Var> {
        let group = self.group(name, role, &[(name.to_owned(), spec)])?;
        Ok(Var { group, entry: Some(0) })
    }

    /// A zeroed group with the layout of another: momentum, averages, snapshots.
    ///
    /// # Errors
    /// Out of memory.
    pub fn group_like(&mut self, name: &str, role: Role, like: Group) -> Result<Group> {
        let entries: Vec<(String, Spec)> =
            self.data(like)?.entries.iter().map(|entry| (entry.name.clone(), entry.spec)).collect();
        self.group(name, role, &entries)
    }

    /// The variables of a group, in order.
    ///
    /// # Errors
    /// The group belongs to another store.
    pub fn vars(&self, group: Group) -> Result<Vec<(&str, Var)>> {
        let entries = &self.data(group)?.entries;
        Ok((0_u32..)
            .zip(entries)
            .map(|(entry, data)| (data.name.as_str(), Var { group, entry: Some(entry) }))
            .collect())
    }

    /// The variable of a group with the given name.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, group: Group, name: &str) -> Result<Var> {
        let data = self.data(group)?;
        (0_u32..)
            .zip(&data.entries)
            .find(|(_, entry)| entry.name == name)
            .map(|(entry, _)| Var { group, entry: Some(entry) })
            .ok_or_else(|| Error::new("store", "no such variable").with("group", &data.name).with("variable", name))
    }

    /// A whole group as one vector, alignment gaps (always zero) included.
    pub fn flat(&self, group: Group) -> Var {
        Var { group, entry: None }
    }

    /// The elements of its group's flat vector that a variable takes up.
    ///
    /// # Errors
    /// It belongs to another store.
    pub fn window(&self, var: Var) -> Result<std::ops::Range<usize>> {
        let (offset, spec) = self.locate(var)?;
        let start = offset / spec.dtype.size();
        Ok(start..start + spec.elements())
    }

    /// Spec of a variable.
    ///
    /// # Errors
    /// It belongs to another store.
    pub fn spec(&self, var: Var) -> Result<Spec> {
        Ok(self.locate(var)?.1)
    }

    /// Path of a variable for messages: `params/blocks.0.norm1.weight`.
    pub fn name(&self, var: Var) -> String {
        match (self.data(var.group()), var.entry) {
            (Ok(data), Some(entry)) => {
                let entry = usize::try_from(entry).ok().and_then(|entry| data.entries.get(entry));
                format!("{}/{}", data.name, entry.map_or("?", |entry| entry.name.as_str()))
            }
            (Ok(data), None) => data.name.clone(),
            (Err(_), _) => "a variable of another store".to_owned(),
        }
    }

    /// Copies a host tensor into a variable.
    ///
    /// # Errors
    /// The specs differ.
    pub fn write(&mut self, var: Var, tensor: &Tensor) -> Result<()> {
        let (offset, spec) = self.locate(var)?;
        if tensor.spec() != spec {
            return Err(Error::new("store", "the tensor does not fit the variable")
                .with(self.name(var), spec)
                .with("tensor", tensor.spec()));
        }
        self.write_bytes(var, offset, tensor.bytes())
    }

    /// Copies host elements into a variable, without a tensor in between.
    ///
    /// # Errors
    /// Element type or count differ.
    pub fn write_values<T: Element>(&mut self, var: Var, values: &[T]) -> Result<()> {
        let (offset, spec) = self.locate(var)?;
        if spec.dtype != T::DTYPE || spec.elements() != values.len() {
            return Err(Error::new("store", "the values do not fit the variable")
                .with(self.name(var), spec)
                .with("values", format!("{}[{}]", T::DTYPE, values.len())));
        }
        self.write_bytes(var, offset, bytemuck::cast_slice(values))
    }

    fn write_bytes(&mut self, var: Var, offset: usize, bytes: &[u8]) -> Result<()> {
        let device = self.device.clone();
        let slab = &mut self.data_mut(var.group())?.slab;
        device.memory().write(slab, offset, bytes)
    }

    /// Copies a variable to the host.
    ///
    /// # Errors
    /// It belongs to another store, or the device failed.
    pub fn read(&self, var: Var) -> Result<Tensor> {
        let (offset, spec) = self.locate(var)?;
        let mut tensor = Tensor::zeros(spec);
        self.device.memory().read(&self.data(var.group())?.slab, offset, tensor.bytes_mut())?;
        Ok(tensor)
    }

    /// Copies a variable into host elements, without allocating.
    ///
    /// # Errors
    /// Element type or count differ.
    pub fn read_values<T: Element>(&self, var: Var, values: &mut [T]) -> Result<()> {
        let (offset, spec) = self.locate(var)?;
        if spec.dtype != T::DTYPE || spec.elements() != values.len() {
            return Err(Error::new("store", "the values do not fit the variable")
                .with(self.name(var), spec)
                .with("values", format!("{}[{}]", T::DTYPE, values.len())));
        }
        self.device.memory().read(&self.data(var.group())?.slab, offset, bytemuck::cast_slice_mut(values))
    }

    /// Copies all variables of one group into another of the same layout.
    ///
    /// # Errors
    /// The layouts differ.
    pub fn copy_group(&mut self, from: Group, to: Group) -> Result<()> {
        if self.layout(from)? != self.layout(to)? {
            return Err(Error::new("store", "the groups have different layouts")
                .with("from", &self.data(from)?.name)
                .with("to", &self.data(to)?.name));
        }
        let source = self.read(self.flat(from))?;
        self.write(self.flat(to), &source)
    }

    /// Bytes per role.
    pub fn bytes(&self, role: Role) -> usize {
        self.groups.iter().filter(|group| group.role == role).map(|group| group.slab.bytes()).sum()
    }

    /// Where each variable of a group begins in its flat view, in elements, with its name and spec.
    ///
    /// # Errors
    /// The group belongs to another store.
    pub fn elements(&self, group: Group) -> Result<Vec<(&str, usize, Spec)>> {
        let entries = &self.data(group)?.entries;
        Ok(entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.offset / entry.spec.dtype.size(), entry.spec))
            .collect())
    }

    /// Byte offsets and specs of a group's variables, and its flat spec.
    pub(crate) fn layout(&self, group: Group) -> Result<(Vec<(usize, Spec)>, Spec)> {
        let data = self.data(group)?;
        Ok((data.entries.iter().map(|entry| (entry.offset, entry.spec)).collect(), data.flat))
    }

    /// Byte offset in the group, and spec.
    pub(crate) fn locate(&self, var: Var) -> Result<(usize, Spec)> {
        let data = self.data(var.group())?;
        let Some(entry) = var.entry else { return Ok((0, data.flat)) };
        let entry = usize::try_from(entry).ok().and_then(|entry| data.entries.get(entry));
        entry.map(|entry| (entry.offset, entry.spec)).ok_or_else(foreign)
    }

    pub(crate) fn read_bytes(&self, group: Group, offset: usize, bytes: &mut [u8]) -> Result<()> {
        self.device.memory().read(&self.data(group)?.slab, offset, bytes)
    }

    pub(crate) fn place(&self, group: Group, offset: usize, bytes: usize) -> Result<Place> {
        self.data(group)?.slab.place(offset, bytes)
    }

    /// Makes the arena at least `bytes` large and gives a new plan its number.
    pub(crate) fn register_plan(&mut self, bytes: usize) -> Result<u64> {
        if self.arena.bytes() < bytes {
            self.arena = self.device.memory().alloc(0)?; // frees the old one first
            self.arena = self.device.memory().alloc(bytes)?;
            self.arena_owner = 0;
        }
        self.plans += 1;
        Ok(self.plans)
    }

    /// Bytes of the arena that plans share, as it is now.
    pub fn arena_bytes(&self) -> usize {
        self.arena.bytes()
    }

    /// Puts another arena in its place, and gives the present one.
    pub(crate) fn swap_arena(&mut self, arena: Slab) -> Slab {
        std::mem::replace(&mut self.arena, arena)
    }

    pub(crate) fn arena(&self) -> &Slab {
        &self.arena
    }

    pub(crate) fn arena_mut(&mut self) -> &mut Slab {
        &mut self.arena
    }

    /// Which plan's values lie in the arena.
    pub(crate) fn arena_owner(&self) -> u64 {
        self.arena_owner
    }

    pub(crate) fn own_arena(&mut self, plan: u64) {
        self.arena_owner = plan;
    }

    fn data(&self, group: Group) -> Result<&GroupData> {
        self.groups.get(self.index(group)?).ok_or_else(foreign)
    }

    fn data_mut(&mut self, group: Group) -> Result<&mut GroupData> {
        let index = self.index(group)?;
        self.groups.get_mut(index).ok_or_else(foreign)
    }

    fn index(&self, group: Group) -> Result<usize> {
        if group.store != self.id {
            return Err(foreign());
        }
        usize::try_from(group.index).map_err(|_| foreign())
    }
}

fn foreign() -> Error {
    Error::new("store", "the variable belongs to another store")
}

impl Store {
    /// A single variable holding `values`.
    ///
    /// # Errors
    /// As [`Store::group`] and [`Tensor::new`].
    pub fn constant(&mut self, name: &str, role: Role, tensor: &Tensor) -> Result<Var> {
        let var = self.single(name, role, tensor.spec())?;
        self.write(var, tensor)?;
        Ok(var)
    }

    /// A single variable of `dtype` and `dims`.
    ///
    /// # Errors
    /// As [`Store::group`].
    pub fn data_var(&mut self, name: &str, dtype: DType, dims: &[usize]) -> Result<Var> {
        self.single(name, Role::Data, Spec::new(dtype, dims)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_keep_their_values_apart_and_the_flat_view_sees_all() {
        let mut store = Store::new(Device::cpu(Some(1)).unwrap()).unwrap();
        let spec = |dims: &[usize]| Spec::new(DType::F32, dims).unwrap();
        let group =
            store.group("params", Role::Parameter, &[("a".into(), spec(&[3])), ("b".into(), spec(&[2, 2]))]).unwrap();
        let b = store.find(group, "b").unwrap();
        store.write_values(b, &[1.0_f32, 2.0, 3.0, 4.0]).unwrap();
        let flat = store.read(store.flat(group)).unwrap();
        assert_eq!(flat.dims(), [32]);
        assert_eq!(&flat.values::<f32>().unwrap()[16..20], [1.0, 2.0, 3.0, 4.0]);
        assert!(flat.values::<f32>().unwrap()[..16].iter().all(|&value| value == 0.0));
        assert_eq!((store.window(b).unwrap(), store.window(store.flat(group)).unwrap()), (16..20, 0..32));
        assert!(store.write_values(b, &[1.0_f32]).is_err());
        assert_eq!(store.name(b), "params/b");
    }
}
