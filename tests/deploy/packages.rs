//! What `.ci/package` makes, looked at with other people's tools.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, anyhow, ensure};
use holdpoint_tests::{cargo, installed, python, repository};
use serde_json::Value;

/// The folder that `.ci/package --quick` has filled from this checkout. Once per process.
pub(crate) fn packages() -> anyhow::Result<&'static Path> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = FOLDER.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_deref().map_err(|error| anyhow!("{error}"))
}

fn make() -> anyhow::Result<PathBuf> {
    let compiler = Command::new("musl-gcc").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(compiler.is_ok(), "there is no `musl-gcc`: install Debian's `musl-tools`");
    let out = repository::target_dir().join("packages-quick");
    cargo::say("making the packages");
    let mut package = Command::new("python3");
    package.arg(repository::path(".ci/package")).args(["--quick", "--out"]).arg(&out);
    cargo::forget(&mut package);
    let made = package.stdin(Stdio::null()).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr).trim());
    Ok(out)
}

/// The service as one file that needs nothing else.
pub(crate) fn static_binary() -> anyhow::Result<PathBuf> {
    packages().map(|folder| folder.join("holdpoint"))
}

/// The folder, or `None` where the machine lacks what it takes.
fn brought() -> anyhow::Result<Option<&'static Path>> {
    installed::or_skip("the packages", packages())
}

fn output(program: &str, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(words).output().with_context(|| format!("cannot run `{program}`"))?;
    let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "`{program} {}`: {text}{said}", words.join(" "));
    Ok(text.into_owned())
}

fn name(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path in UTF-8")
}

#[test]
fn service_is_one_static_file() -> anyhow::Result<()> {
    let Some(folder) = brought()? else { return Ok(()) };
    let binary = folder.join("holdpoint");
    let headers = output("readelf", &["--wide", "--program-headers", "--dynamic", name(&binary)?])?;
    ensure!(headers.contains("LOAD") && !headers.contains("INTERP"), "it asks for a loader: {headers}");
    ensure!(!headers.contains("(NEEDED)"), "it asks for libraries: {headers}");
    let version = output(name(&binary)?, &["--version"])?;
    ensure!(version.starts_with("holdpoint "), "{version}");
    Ok(())
}

#[test]
fn every_file_has_its_sum() -> anyhow::Result<()> {
    let Some(folder) = brought()? else { return Ok(()) };
    let copy = tempfile::tempdir()?;
    let place = copy.path().join("packages");
    output("cp", &["-r", name(folder)?, name(&place)?])?;
    let check = || {
        Command::new("sha256sum").args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&place).output()
    };
    let sums = std::fs::read_to_string(place.join("SHA256SUMS"))?;
    for file in ["holdpoint", "holdpoint_filter.wasm", "holdpoint_filter.oci/index.json", "image-root.tar", "LICENSE"] {
        ensure!(sums.lines().any(|line| line.ends_with(&format!("  {file}"))), "{file} has no sum");
    }
    ensure!(check()?.status.success(), "{}", String::from_utf8_lossy(&check()?.stdout));
    let wasm = place.join("holdpoint_filter.wasm");
    let mut changed = std::fs::read(&wasm)?;
    *changed.last_mut().context("a module")? ^= 1;
    std::fs::write(&wasm, changed)?;
    ensure!(!check()?.status.success(), "a change is found");
    Ok(())
}

#[test]
fn filter_that_was_built_without_its_record_is_not_packaged() -> anyhow::Result<()> {
    use holdpoint_filter::audit_buffer::NOT_KEPT;
    let folder = tempfile::tempdir()?;
    let inspect = |words: &str| -> anyhow::Result<std::process::Output> {
        let module = folder.path().join("some.wasm");
        std::fs::write(&module, [b"\0asm".as_slice(), words.as_bytes(), b"\0"].concat())?;
        Ok(Command::new("python3").arg(repository::path(".ci/package")).arg("--inspect").arg(module).output()?)
    };
    let refused = inspect(&format!("holdpoint: {NOT_KEPT}"))?;
    ensure!(!refused.status.success(), "a filter without its record is packaged");
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("without its record"), "{refused:?}");
    ensure!(inspect("holdpoint: policy {} in force")?.status.success());
    let Some(folder) = brought()? else { return Ok(()) };
    let wasm = std::fs::read(folder.join("holdpoint_filter.wasm"))?;
    ensure!(!wasm.windows(NOT_KEPT.len()).any(|part| part == NOT_KEPT.as_bytes()), "what is packaged keeps a record");
    Ok(())
}

/// Both forms in which meshes take a filter, read and copied by skopeo, which checks every digest.
#[test]
fn filter_is_an_oci_artifact_and_an_image() -> anyhow::Result<()> {
    let there = Command::new("skopeo").arg("--version").output().map(|_| ()).context("there is no `skopeo`");
    if installed::or_skip("the OCI layout", there)?.is_none() {
        return Ok(());
    }
    let Some(folder) = brought()? else { return Ok(()) };
    let wasm = std::fs::read(folder.join("holdpoint_filter.wasm"))?;
    ensure!(wasm.starts_with(b"\0asm"), "the module");
    let layout = folder.join("holdpoint_filter.oci");
    let version = env!("CARGO_PKG_VERSION");
    let copies = tempfile::tempdir()?;
    let copied = |tag: &str| -> anyhow::Result<(Value, Vec<u8>)> {
        let place = copies.path().join(tag);
        let (from, into) = (format!("oci:{}:{tag}", name(&layout)?), format!("dir:{}", name(&place)?));
        output("skopeo", &["copy", "--quiet", "--insecure-policy", &from, &into])?;
        let manifest: Value = serde_json::from_slice(&std::fs::read(place.join("manifest.json"))?)?;
        let digest = manifest["layers"][0]["digest"].as_str().context("a layer")?.trim_start_matches("sha256:");
        ensure!(manifest["layers"].as_array().map(Vec::len) == Some(1), "{manifest}");
        let layer = std::fs::read(place.join(digest))?;
        Ok((manifest, layer))
    };

    let (artifact, layer) = copied(version)?;
    ensure!(artifact["config"]["mediaType"] == "application/vnd.module.wasm.config.v1+json", "{artifact}");
    ensure!(artifact["layers"][0]["mediaType"] == "application/vnd.module.wasm.content.layer.v1+wasm", "{artifact}");
    ensure!(layer == wasm, "the layer is the module");

    let (image, layer) = copied(&format!("{version}-image"))?;
    ensure!(image["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json", "{image}");
    ensure!(image["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip", "{image}");
    ensure!(image["annotations"]["module.wasm.image/variant"] == "compat", "{image}");
    let archive = copies.path().join("layer.tar.gz");
    std::fs::write(&archive, layer)?;
    ensure!(
        output("tar", &["-tzf", name(&archive)?])?.trim() == "plugin.wasm",
        "one file of the name that is looked for"
    );
    output("tar", &["-xzf", name(&archive)?, "-C", name(copies.path())?])?;
    ensure!(std::fs::read(copies.path().join("plugin.wasm"))? == wasm, "and it is the module");
    let about: Value = serde_json::from_str(&output(
        "skopeo",
        &["inspect", "--config", &format!("oci:{}:{version}-image", name(&layout)?)],
    )?)?;
    ensure!(about["os"] == "wasip1" && about["architecture"] == "wasm", "{about}");
    Ok(())
}

/// CycloneDX by the reference library's own schema, and by what must and must not be in it.
#[test]
fn bills_of_materials_are_valid_and_complete() -> anyhow::Result<()> {
    let Some(folder) = brought()? else { return Ok(()) };
    let programs = python::programs("cyclonedx", &["cyclonedx-python-lib[json-validation]==11.12.0"])?;
    let lock = repository::text("Cargo.lock")?;
    for (file, linked, not_linked) in [
        (
            "holdpoint.cdx.json",
            &["sqlx-sqlite", "axum", "aws-lc-rs", "holdpoint-core"][..],
            &["proptest", "proxy-wasm"][..],
        ),
        ("holdpoint_filter.cdx.json", &["proxy-wasm", "sha2", "holdpoint-core"], &["axum", "tokio", "criterion"]),
    ] {
        let path = folder.join(file);
        let script = "import sys\n\
             from cyclonedx.validation.json import JsonStrictValidator\n\
             from cyclonedx.schema import SchemaVersion\n\
             problem = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())\n\
             sys.exit(str(problem) if problem else 0)\n";
        let python = programs.join("python");
        output(name(&python)?, &["-c", script, name(&path)?])?;
        let bill: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let components = bill["components"].as_array().context("components")?;
        let names: Vec<&str> = components.iter().filter_map(|one| one["name"].as_str()).collect();
        for package in linked {
            ensure!(names.contains(package), "{file} lacks {package}");
        }
        for package in not_linked {
            ensure!(!names.contains(package), "{file} lists {package}, which is not linked");
        }
        for one in components {
            let (package, version) = (one["name"].as_str().unwrap_or(""), one["version"].as_str().unwrap_or(""));
            ensure!(
                lock.contains(&format!("name = \"{package}\"\nversion = \"{version}\"")),
                "{one} is not in the lock"
            );
            ensure!(one["licenses"][0]["expression"].is_string(), "{one} has no licence");
            let is_ours = package.starts_with("holdpoint");
            ensure!(is_ours || one["hashes"][0]["content"].is_string(), "{one} has no sum");
        }
        let whole = &bill["metadata"]["component"];
        let shipped = folder.join(file.replace(".cdx.json", if file.contains("filter") { ".wasm" } else { "" }));
        let sum = output("sha256sum", &[name(&shipped)?])?;
        ensure!(whole["hashes"][0]["content"].as_str().is_some_and(|digest| sum.starts_with(digest)), "{whole}");
    }
    Ok(())
}

/// Minutes of building: only where everything is run.
#[test]
fn packages_are_the_same_bytes_when_they_are_built_again() -> anyhow::Result<()> {
    if !std::env::var("HOLDPOINT_FULL").is_ok_and(|value| value == "1") {
        cargo::say("left out without HOLDPOINT_FULL=1: building the packages twice");
        return Ok(());
    }
    let mut package = Command::new("python3");
    package.arg(repository::path(".ci/package")).arg("--check-reproducible");
    cargo::forget(&mut package);
    let built = package.output()?;
    let text = String::from_utf8_lossy(&built.stdout);
    ensure!(built.status.success(), "{text}{}", String::from_utf8_lossy(&built.stderr));
    ensure!(text.matches("the same twice").count() == 2, "{text}");
    Ok(())
}
