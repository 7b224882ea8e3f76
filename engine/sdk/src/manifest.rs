//! `module!`: the one line that exports a module's components.

/// Exports components as a module.
///
/// ```ignore
/// engine_sdk::module!("file": source "file" => FileSource, sink "file" => FileSink);
/// ```
///
/// Names are `[a-z][a-z0-9_]*`; others do not compile:
///
/// ```compile_fail
/// # use engine_sdk::prelude::*;
/// # struct Upper;
/// # impl Component for Upper {
/// #     type Config = std::collections::BTreeMap<String, String>;
/// #     const SUMMARY: &'static str = "";
/// #     fn examples() -> Vec<Example> { vec![] }
/// #     fn open(_: Self::Config, _: Context) -> Result<Self> { Ok(Self) }
/// # }
/// # impl Transform for Upper {
/// #     fn apply(&mut self, input: Batches) -> Result<Batches> { Ok(input) }
/// # }
/// engine_sdk::module!("upper": transform "Upper-1" => Upper);
/// # fn main() {}
/// ```
///
/// Kinds: `source`, `push_source`, `transform`, `decoder`, `encoder`, `format`
/// (both a decoder and an encoder), `sink`.
#[macro_export]
macro_rules! module {
    ($module:literal: $first_kind:ident $first:literal => $first_type:ty
        $(, $kind:ident $name:literal => $type:ty)* $(,)?) => {
        const _: () = {
            $crate::export::require_names(&[$first $(, $name)*]);

            const COMPONENTS: &[&$crate::export::Component] = &[
                &$crate::export::$first_kind::<$first_type>($first),
                $(&$crate::export::$kind::<$type>($name),)*
            ];

            $crate::__exports!($module, COMPONENTS);

            const MANIFEST: &str = concat!(
                "{\"abi\":1,\"name\":\"", $module, "\",\"version\":\"", env!("CARGO_PKG_VERSION"),
                "\",\"components\":[",
                "{\"kind\":\"", $crate::__kind!($first_kind), "\",\"name\":\"", $first, "\"}",
                $(",{\"kind\":\"", $crate::__kind!($kind), "\",\"name\":\"", $name, "\"}",)*
                "]}",
            );

            #[used]
            #[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,engine_manifest"))]
            #[cfg_attr(not(target_os = "macos"), unsafe(link_section = "engine_manifest"))]
            static MANIFEST_BYTES: [u8; MANIFEST.len()] = $crate::export::bytes(MANIFEST);
        };
    };
}

/// The kind of component that a word of [`module!`] stands for.
#[doc(hidden)]
#[macro_export]
macro_rules! __kind {
    (source) => {
        "source"
    };
    (push_source) => {
        "source"
    };
    (transform) => {
        "transform"
    };
    (decoder) => {
        "format"
    };
    (encoder) => {
        "format"
    };
    (format) => {
        "format"
    };
    (sink) => {
        "sink"
    };
    (state) => {
        "state"
    };
}

/// The symbol of `plugin.h`.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __exports {
    ($module:literal, $components:ident) => {
        static MODULE: $crate::export::Module = $crate::export::module($module, env!("CARGO_PKG_VERSION"), $components);

        #[unsafe(no_mangle)]
        extern "C" fn engine_module_v1() -> *const $crate::export::Module {
            &raw const MODULE
        }
    };
}

/// The exports of `plugin.wit`.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __exports {
    ($module:literal, $components:ident) => {
        struct Listed;

        impl $crate::export::Listed for Listed {
            const COMPONENTS: &'static [&'static $crate::export::Component] = $components;
        }

        type Guest = $crate::export::Serve<Listed>;

        $crate::export::bindings::export_guest!(Guest with_types_in $crate::export::bindings);
    };
}
