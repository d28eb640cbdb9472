//! Data that show some of a model's classes, as ImageNet-A and ImageNet-R show 200 of ImageNet's 1000: accuracy is that among
//! these classes, the logits of all others being negative infinity (Hendrycks et al., 1907.07174 and 2006.16241).

use std::path::Path;

use engine::{Error, Result};

/// Where the classes of a data set stand in a model's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassMap {
    /// The model's classes that take part.
    columns: Vec<usize>,
    /// For each class of the data, its position in `columns`.
    positions: Vec<i32>,
}

impl ClassMap {
    /// The model's classes that take part, by index.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// A class of the data as a position in [`ClassMap::columns`]; -1 for one that is none.
    pub fn position(&self, label: i32) -> i32 {
        usize::try_from(label).ok().and_then(|label| self.positions.get(label).copied()).unwrap_or(-1)
    }

    /// Finds the classes `data` of a data set among a model's `classes`.
    ///
    /// `order` names the model's classes, first to last; the data's classes are then found by name. `subset` lists the classes
    /// that take part, by name or by index; without it they are the data's. Without `order`, `subset` holds one index for
    /// each class of the data, in their order.
    ///
    /// # Errors
    /// Neither is given; a name is not found, an index is out of range, or a class is listed twice; a class of the data
    /// takes no part.
    pub fn new(data: &[String], classes: usize, order: Option<&[String]>, subset: Option<&[String]>) -> Result<Self> {
        if let Some(order) = order
            && order.len() != classes
        {
            return Err(Error::new("--class-order", "names another number of classes than the model's head has")
                .with("names", order.len())
                .with("head", classes));
        }
        let columns: Vec<usize> = match (order, subset) {
            (None, None) => {
                return Err(Error::new(
                    "classes",
                    "neither an order of the model's classes nor a list of them is given",
                )
                .help("--class-order FILE, --class-subset FILE or both"));
            }
            (order, Some(subset)) => {
                subset.iter().map(|entry| resolve(entry, classes, order)).collect::<Result<_>>()?
            }
            (Some(order), None) => data.iter().map(|name| find(order, name, "--class-order")).collect::<Result<_>>()?,
        };
        for (at, column) in columns.iter().enumerate() {
            if columns.iter().take(at).any(|other| other == column) {
                return Err(Error::new("--class-subset", "a class is listed twice").with("class", column));
            }
        }
        let positions = match order {
            Some(order) => {
                data.iter().map(|name| position_of(&columns, order, name)).collect::<Result<Vec<usize>>>()?
            }
            None if columns.len() == data.len() => (0..data.len()).collect(),
            None => {
                return Err(Error::new("--class-subset", "has another number of lines than the data have classes")
                    .with("lines", columns.len())
                    .with("classes of the data", data.len())
                    .help("one index for each class of the data, in their order; or give names, with --class-order"));
            }
        };
        let positions = positions.into_iter().filter_map(|position| i32::try_from(position).ok()).collect();
        Ok(Self { columns, positions })
    }
}

fn position_of(columns: &[usize], order: &[String], name: &str) -> Result<usize> {
    let class = find(order, name, "--class-order")?;
    columns.iter().position(|&column| column == class).ok_or_else(|| {
        Error::new("--class-subset", "a class of the data is not listed").with("class", name).with("index", class)
    })
}

/// An entry of a list: an index, else a name.
fn resolve(entry: &str, classes: usize, order: Option<&[String]>) -> Result<usize> {
    match (entry.parse::<usize>(), order) {
        (Ok(index), _) if index < classes => Ok(index),
        (Ok(index), _) => Err(Error::new("--class-subset", "an index is no class of the model")
            .with("index", index)
            .with("classes", format!("0 to {}", classes.saturating_sub(1)))),
        (Err(_), Some(order)) => find(order, entry, "--class-order"),
        (Err(_), None) => Err(Error::new("--class-subset", "holds names, which need the order of the model's classes")
            .with("name", entry)
            .help("--class-order FILE, or a folder such as ImageNet's val/ whose subfolders are the model's classes")),
    }
}

/// The place of a name: the whole line, or its first word, as in `n01440764 tench`.
fn find(order: &[String], name: &str, place: &str) -> Result<usize> {
    let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let exact = order.iter().position(|line| line == name);
    let found = exact.or_else(|| order.iter().position(|line| first(line) == first(name)));
    found.ok_or_else(|| {
        Error::new(place, "does not name a class")
            .with("class", name)
            .with("names in it", order.len())
            .help("names are compared as they are, or by their first word")
    })
}

/// Lines of a file without blank ones and comments (`#`), or the sorted names of a folder's subfolders.
///
/// # Errors
/// It can't be read, or holds nothing.
pub fn read_names(path: &Path) -> Result<Vec<String>> {
    let names: Vec<String> = if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| Error::io(path, "list", &error))?;
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        let mut names: Vec<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    } else {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, "read", &error))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    if names.is_empty() {
        return Err(Error::new(path.display().to_string(), "names no class").help("one name or index per line"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn classes_are_found_by_name_and_by_index() {
        let order = names("n1 tench,n2 shark,n3,n4,n5");
        let map = |data: &str, order: Option<&[String]>, subset: Option<&str>| {
            let subset = subset.map(names);
            ClassMap::new(&names(data), 5, order, subset.as_deref())
        };
        let found = map("n2,n5", Some(&order), None).unwrap();
        assert_eq!((found.columns(), found.position(1), found.position(2)), (&[1, 4][..], 1, -1));
        let found = map("n2,n5", Some(&order), Some("n5,n1,n2")).unwrap();
        assert_eq!((found.columns(), found.position(0), found.position(1)), (&[4, 0, 1][..], 2, 0));
        let found = map("cat,dog", None, Some("3,1")).unwrap();
        assert_eq!((found.columns(), found.position(0), found.position(1)), (&[3, 1][..], 0, 1));

        let error = |data: &str, order: Option<&[String]>, subset: Option<&str>| {
            map(data, order, subset).unwrap_err().to_string()
        };
        assert!(error("a", None, None).contains("--class-order"));
        assert!(error("n9", Some(&order), None).contains("n9"));
        assert!(error("n1", Some(&order), Some("n2")).contains("not listed"));
        assert!(error("a,b", None, Some("1,1")).contains("twice"));
        assert!(error("a", None, Some("5")).contains("0 to 4"));
        assert!(error("a", None, Some("n1")).contains("--class-order"));
        assert!(error("a,b", None, Some("1,2,3")).contains("3"));
        assert!(error("n1", Some(&order[..4]), None).contains("another number"));
    }

    #[test]
    fn names_come_from_lines_or_sorted_folders() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["n2", "n10", "n1"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let file = folder.path().join("list.txt");
        std::fs::write(&file, "# classes\n\n n7 shark \n3\n").unwrap();
        assert_eq!(read_names(&file).unwrap(), ["n7 shark", "3"]);
        assert_eq!(read_names(folder.path()).unwrap(), ["n1", "n10", "n2"]);
        assert!(read_names(&folder.path().join("n1")).unwrap_err().to_string().contains("no class"));
        assert!(read_names(&folder.path().join("missing")).is_err());
    }
}
