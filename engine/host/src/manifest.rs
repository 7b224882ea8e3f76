//! Reads who a module is from its file, without running it.

use std::fs::File;
use std::path::Path;

use engine_abi::{ABI_VERSION, Error, MANIFEST_SECTION, ModuleIdentity, Result, is_component_name};
use object::read::{Object, ObjectSection, ReadCache};

use crate::{Origin, wasm_sections};

/// The manifest of a shared library or a WASM file; `None` if it is one, but not
/// a module.
pub(crate) fn read(path: &Path, file: &File, origin: Origin) -> Result<Option<ModuleIdentity>> {
    let text = match origin {
        Origin::Wasm => wasm_sections::find(file, MANIFEST_SECTION).map_err(|what| {
            Error::config(format!("module {} cannot be read: {what}", path.display()))
                .hint("the file is damaged; build or copy it again")
        })?,
        Origin::Native => section_of_library(path, file)?,
    };
    text.map(|text| identity(path, &text)).transpose()
}

fn section_of_library(path: &Path, file: &File) -> Result<Option<Vec<u8>>> {
    let shown = path.display();
    let damaged = |what: String| {
        Error::config(format!("module {shown} cannot be read: {what}"))
            .hint("the file is damaged or not a shared library of this machine; build or copy it again")
    };
    let length = file.metadata().map_err(|error| damaged(error.to_string()))?.len();
    let cache = ReadCache::new(file);
    let library = object::File::parse(&cache).map_err(|error| damaged(error.to_string()))?;
    let mut found = None;
    for section in library.sections() {
        // A library that was cut short still has its header, which points beyond its end.
        if section.file_range().is_some_and(|(start, size)| start.saturating_add(size) > length) {
            return Err(damaged("it ends before its last section".into()));
        }
        if section.name() == Ok(MANIFEST_SECTION) {
            found = Some(section.data().map_err(|error| damaged(error.to_string()))?.to_vec());
        }
    }
    Ok(found)
}

fn identity(path: &Path, text: &[u8]) -> Result<ModuleIdentity> {
    let shown = path.display();
    // A C string brings its NUL along.
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    let identity: ModuleIdentity = serde_json::from_slice(text).map_err(|error| {
        Error::config(format!("module {shown} has a manifest that cannot be read: {error}"))
            .hint("its section `engine_manifest` must hold JSON as described in schemas/plugin.h")
    })?;
    if identity.abi != ABI_VERSION {
        return Err(Error::config(format!(
            "module {shown} is built for version {} of the module interface, this engine speaks version {ABI_VERSION}",
            identity.abi
        ))
        .hint("build the module against this engine's schemas/plugin.h or SDK"));
    }
    if let Some(wrong) = identity.components.iter().find(|component| !is_component_name(&component.name)) {
        return Err(Error::config(format!("module {shown} names a {} `{}`", wrong.kind, wrong.name.escape_debug()))
            .hint("a name is small letters, digits and `_`, and begins with a letter; this is a bug in the module"));
    }
    Ok(identity)
}
