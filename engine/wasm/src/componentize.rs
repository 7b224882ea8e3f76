//! Makes a component of what a compiler gives: a core module that calls the
//! functions of `schemas/plugin.wit`. Authors need no further tool for it.

use engine_abi::loader::ComponentizeRequest;
use engine_abi::{Error, MANIFEST_SECTION, Result};
use wasi_preview1_component_adapter_provider as preview1;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const PLUGIN_WIT: &str = include_str!("../../../schemas/plugin.wit");

/// The component, with its manifest.
pub fn componentize(request: &ComponentizeRequest, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut component = if is_component(bytes) { bytes.to_vec() } else { encode(request, bytes)? };
    if let Some(manifest) = &request.manifest {
        append_custom_section(&mut component, MANIFEST_SECTION, manifest.as_bytes());
    }
    Ok(component)
}

fn is_component(bytes: &[u8]) -> bool {
    bytes.get(..8).is_some_and(|header| header.starts_with(b"\0asm") && header[6] == 1)
}

fn encode(request: &ComponentizeRequest, core: &[u8]) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::config(format!("{} cannot be made a component: {error:#}", request.path))
            .hint("it must export and import the functions of schemas/plugin.wit, as the SDK and the kits do")
    };
    let mut core = core.to_vec();
    if let Some(world) = &request.world {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("plugin.wit", PLUGIN_WIT).map_err(|error| failed(&error))?;
        let world = resolve.select_world(&[package], Some(world)).map_err(|error| failed(&error))?;
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).map_err(|error| failed(&error))?;
    }
    let mut encoder = ComponentEncoder::default().validate(true).module(&core).map_err(|error| failed(&error))?;
    let wants = |name: &str| core.windows(name.len()).any(|window| window == name.as_bytes());
    let adapter = preview1::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
    if wants(adapter) {
        // The C library speaks the older WASI.
        encoder = encoder
            .adapter(adapter, preview1::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
            .map_err(|error| failed(&error))?;
    }
    encoder.encode().map_err(|error| failed(&error))
}

/// A custom section is a 0, its size, and its name in front of its content.
fn append_custom_section(wasm: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut section = Vec::with_capacity(name.len() + content.len() + 5);
    write_size(&mut section, name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(content);
    wasm.push(0);
    write_size(wasm, section.len());
    wasm.extend_from_slice(&section);
}

/// LEB128.
fn write_size(bytes: &mut Vec<u8>, mut size: usize) {
    loop {
        let low = (size & 0x7f) as u8;
        size >>= 7;
        if size == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}
