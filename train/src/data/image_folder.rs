//! Folders of JPEG, PNG and WebP files, one folder per class.

use std::fs;
use std::path::{Path, PathBuf};

use engine::{Error, Result};
use image::{ImageReader, RgbImage};
use rayon::prelude::*;

use super::{Dataset, MAX_SIZE, Options, Split, memory, pixels};

const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
const TEST_FOLDERS: [&str; 3] = ["val", "validation", "test"];
/// Folders within a class folder are searched so deep: enough for any data set, and an end to cycles of links.
const MAX_DEPTH: usize = 6;
/// Side of the images where neither the options nor the files give one.
const DEFAULT_SIZE: usize = 224;
/// Unreadable files that an error lists by name.
const LISTED: usize = 10;

/// Whether the folder has a `train/` or one of the test folders.
pub(super) fn is_divided(folder: &Path) -> bool {
    folder.join("train").is_dir() || test_folder(folder).is_some()
}

fn test_folder(folder: &Path) -> Option<PathBuf> {
    TEST_FOLDERS.iter().map(|name| folder.join(name)).find(|path| path.is_dir())
}

/// Reads a split of an image folder; see [`super::open`]. Colour is converted as Pillow's `convert("RGB")` does: gray is
/// repeated, alpha dropped; EXIF orientation is not applied.
pub(super) fn open(folder: &Path, split: Split, options: &Options) -> Result<Dataset> {
    let root = match split {
        _ if !is_divided(folder) => folder.to_path_buf(),
        Split::Train => folder.join("train"),
        Split::Test => test_folder(folder).ok_or_else(|| {
            Error::new(folder.display().to_string(), "there is a train folder and no test folder")
                .help("add val/ or test/ beside train/")
        })?,
    };
    read(&root, class_names(folder, &root)?, options)
}

/// Reads a folder with one folder per class, whose names are among `classes`, which number them.
pub(super) fn open_classes(root: &Path, classes: &[String], options: &Options) -> Result<Dataset> {
    check_known(root, &subfolders(root)?, classes, "classes of the clean images")?;
    read(root, classes.to_vec(), options)
}

fn read(root: &Path, classes: Vec<String>, options: &Options) -> Result<Dataset> {
    let files = list(root, &classes)?;
    let kept = options.limit.unwrap_or(usize::MAX).min(files.len());
    // Files lie class by class: evenly spaced ones keep the proportions.
    let files: Vec<&(PathBuf, i32)> = (0..kept).filter_map(|i| files.get(i * files.len() / kept)).collect();
    let (size, crop_pct) = target_size(&files, options);
    let channels = options.channels.unwrap_or(3);
    let place = root.display().to_string();
    let volume = channels * size * size;
    let mut pixels = vec![0; memory::check(&place, files.len(), volume)?];
    let side = u32::try_from(size).map_err(|_| Error::new(&*place, "image size out of range").with("size", size))?;
    let failures: Vec<Error> = pixels
        .par_chunks_exact_mut(volume)
        .zip(files.par_iter())
        .filter_map(|(out, (path, _))| {
            let image = decode(path);
            let fitted = image.and_then(|image| {
                pixels::fit(&image, side, crop_pct, options.interpolation, out)
                    .map_err(|error| error.within(path.display()))
            });
            fitted.err()
        })
        .collect();
    refuse_unreadable(&place, files.len(), &failures)?;
    Dataset::new(place, [channels, size, size], pixels, files.iter().map(|file| file.1).collect(), classes)
}

/// Names of the folders in `folder`, sorted; hidden ones are passed over.
pub(super) fn subfolders(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in entries(folder)? {
        if let (true, Some(name)) = (path.is_dir(), path.file_name().and_then(|name| name.to_str())) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Entries of a folder in the order of their names, hidden ones passed over.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |error: std::io::Error| Error::io(folder, "list", &error);
    let listed: std::io::Result<Vec<PathBuf>> =
        fs::read_dir(folder).map_err(fail)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = listed.map_err(fail)?;
    paths.retain(|path| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")));
    paths.sort();
    Ok(paths)
}

/// The classes of `train/` number those of the other folder too, which may lack some and must not add any.
fn class_names(folder: &Path, root: &Path) -> Result<Vec<String>> {
    let own = subfolders(root)?;
    let train = folder.join("train");
    let all = if train.is_dir() && root != train { subfolders(&train)? } else { own.clone() };
    check_known(root, &own, &all, "classes of train/")?;
    Ok(all)
}

/// Refuses a folder without class folders, and class folders that are not among `all`.
fn check_known(root: &Path, own: &[String], all: &[String], whose: &str) -> Result<()> {
    if own.is_empty() {
        return Err(Error::new(root.display().to_string(), "no class folders")
            .help("put the images of each class into a folder of its own"));
    }
    let unknown: Vec<&str> = own.iter().filter(|name| !all.contains(name)).map(String::as_str).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Error::new(root.display().to_string(), "class folders that are not among the classes")
        .with("folders", unknown.join(", "))
        .with(whose, all.len()))
}

/// Image files and labels, class by class, each class in the order of names.
fn list(root: &Path, classes: &[String]) -> Result<Vec<(PathBuf, i32)>> {
    let mut files = Vec::new();
    for (class, name) in classes.iter().enumerate() {
        let folder = root.join(name);
        if !folder.is_dir() {
            continue;
        }
        let label = i32::try_from(class)
            .map_err(|_| Error::new(root.display().to_string(), "too many classes").with("classes", classes.len()))?;
        let mut found = Vec::new();
        collect(&folder, 0, &mut found)?;
        if found.is_empty() {
            return Err(Error::new(folder.display().to_string(), "the class folder holds no image")
                .with("extensions read", EXTENSIONS.join(", ")));
        }
        files.extend(found.into_iter().map(|file| (file, label)));
    }
    Ok(files)
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        if path.is_dir() {
            if depth < MAX_DEPTH {
                collect(&path, depth + 1, found)?;
            }
        } else if path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| EXTENSIONS.iter().any(|x| x.eq_ignore_ascii_case(e)))
        {
            found.push(path);
        }
    }
    Ok(())
}

/// Size and crop: what the options say, or the files' own if they are square and agree, or 224.
fn target_size(files: &[&(PathBuf, i32)], options: &Options) -> (usize, f32) {
    if let Some(size) = options.size {
        return (size, options.crop_pct);
    }
    // Unreadable headers are reported with their file when it is decoded.
    let mut sizes = files.iter().filter_map(|(path, _)| image::image_dimensions(path).ok());
    let first = sizes.next().filter(|(width, height)| width == height && *width as usize <= MAX_SIZE);
    match first {
        Some((side, _)) if sizes.all(|other| other == (side, side)) => (side as usize, 1.0),
        _ => (DEFAULT_SIZE, options.crop_pct),
    }
}

/// Decodes a file by its content, whatever its extension says.
fn decode(path: &Path) -> Result<RgbImage> {
    let place = || path.display().to_string();
    let reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|error| Error::io(path, "read", &error))?;
    let image = reader.decode().map_err(|error| Error::new(place(), format!("can't decode the image: {error}")))?;
    Ok(image.to_rgb8())
}

/// If any file failed, one error that lists them.
fn refuse_unreadable(place: &str, total: usize, failures: &[Error]) -> Result<()> {
    match failures {
        [] => Ok(()),
        [only] => Err(only.clone()),
        _ => {
            let error = Error::new(place, format!("{} of {total} files can't be read", failures.len()));
            Err(failures.iter().take(LISTED).fold(error, |error, one| error.with(one.place(), one.problem())))
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, Luma, Rgb, Rgba, RgbaImage};

    use super::*;

    fn write(path: &Path, image: impl Into<DynamicImage>) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image.into().save(path).unwrap();
    }

    fn solid(colour: [u8; 3]) -> RgbImage {
        RgbImage::from_pixel(8, 8, Rgb(colour))
    }

    #[test]
    fn colours_become_rgb_classes_sort_and_junk_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at("train/b/1.png"), solid([10, 20, 30]));
        write(&at("train/a/gray.png"), GrayImage::from_pixel(8, 8, Luma([77])));
        write(&at("train/a/deeper/alpha.png"), RgbaImage::from_pixel(8, 8, Rgba([1, 2, 3, 0])));
        write(&at("train/a/photo.JPEG"), solid([200, 200, 200]));
        write(&at("val/b/2.webp"), solid([9, 8, 7]));
        fs::write(at("train/a/notes.txt"), "no image").unwrap();
        fs::write(at("train/a/.hidden.png"), "no image").unwrap();
        fs::create_dir(at("train/.cache")).unwrap();
        // A PNG that calls itself JPEG.
        fs::copy(at("train/b/1.png"), at("train/b/3.jpg")).unwrap();
        let train = open(folder.path(), Split::Train, &Options::default()).unwrap();
        assert_eq!((train.classes(), train.dims(), train.len()), (&["a".into(), "b".into()][..], [3, 8, 8], 5));
        let first_pixel = |set: &Dataset, i: usize| [0, 64, 128].map(|at| set.image_u8(i).unwrap()[at]);
        assert_eq!([0, 1, 3, 4].map(|i| first_pixel(&train, i)), [[1, 2, 3], [77; 3], [10, 20, 30], [10, 20, 30]]);
        // val/ lacks class a; b keeps its number.
        let val = open(folder.path(), Split::Test, &Options::default()).unwrap();
        assert_eq!((val.label(0).unwrap(), first_pixel(&val, 0)), (1, [9, 8, 7]));
    }

    #[test]
    fn unreadable_files_are_named_and_listed_together() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("a/good.png"), solid([1, 2, 3]));
        let png = fs::read(folder.path().join("a/good.png")).unwrap();
        fs::write(folder.path().join("a/torn.png"), &png[..png.len() / 2]).unwrap();
        let refused = || open(folder.path(), Split::Test, &Options::default()).unwrap_err().to_string();
        assert!(refused().contains("torn.png: can't decode"), "{}", refused());
        fs::write(folder.path().join("a/text.jpg"), "text").unwrap();
        let error = refused();
        assert!(error.contains("2 of 3") && error.contains("torn.png") && error.contains("text.jpg"), "{error}");
    }

    #[test]
    fn wrong_folders_say_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |split| open(folder.path(), split, &Options::default()).unwrap_err().to_string();
        write(&folder.path().join("train/a/1.png"), solid([1, 2, 3]));
        assert!(refused(Split::Test).contains("val/"));
        write(&folder.path().join("val/z/1.png"), solid([1, 2, 3]));
        assert!(refused(Split::Test).contains("classes of train/") && refused(Split::Test).contains('z'));
        fs::create_dir(folder.path().join("train/empty")).unwrap();
        assert!(refused(Split::Train).contains("empty: the class folder holds no image"));
    }

    #[test]
    fn sizes_limits_and_undivided_folders() {
        let folder = tempfile::tempdir().unwrap();
        for class in ["a", "b"] {
            for number in 0_u8..6 {
                write(
                    &folder.path().join(format!("{class}/{number}.png")),
                    RgbImage::from_pixel(12, 9, Rgb([number; 3])),
                );
            }
        }
        let spec = folder.path().to_str().unwrap();
        let options = Options { size: Some(6), limit: Some(4), channels: Some(1), ..Options::default() };
        let set = super::super::open(spec, Split::Test, &options).unwrap();
        assert_eq!((set.dims(), set.len()), ([1, 6, 6], 4));
        assert_eq!((0..4).map(|i| set.label(i).unwrap()).collect::<Vec<_>>(), [0, 0, 1, 1]);
        // Not square and no size given: 224.
        let set = open(folder.path(), Split::Train, &Options { limit: Some(1), ..Options::default() }).unwrap();
        assert_eq!(set.dims(), [3, 224, 224]);
        let options = Options { size: Some(6), ..Options::default() };
        let (train, test) = super::super::open_pair(spec, &options).unwrap();
        assert_eq!((train.len(), test.len()), (10, 2));
    }
}
