//! Builds libzmq as the crate on the registry does, and CURVE with it: on the cryptography that lies in libzmq's own
//! sources, so that nothing has to be installed.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = env::var("TARGET").unwrap();
    let mut defines = vec![("ZMQ_USE_TWEETNACL", "1"), ("ZMQ_HAVE_CURVE", "1")];
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        defines.push(("ZMQ_HAVE_GETRANDOM", "1"));
    }
    // The builder of libzmq takes no defines; the compiler that it calls takes flags from here, the most specific
    // variable before all others.
    let names = [format!("CXXFLAGS_{target}"), format!("CXXFLAGS_{}", target.replace('-', "_")), "CXXFLAGS".into()];
    let mut flags = names.iter().find_map(|name| env::var(name).ok()).unwrap_or_default();
    // Optimised, it makes a compiler warn of what is none, and cargo shows a local package's warnings at every build.
    flags += " -w";
    for (name, value) in &defines {
        flags += &format!(" -D{name}={value}");
    }
    env::set_var(&names[0], flags);
    zeromq_src::Build::new().build();
    // It leaves the sources, and an empty platform.hpp, there.
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    let sources = out.join("source/src");
    let mut build = cc::Build::new();
    for (name, value) in defines {
        build.define(name, value);
    }
    build.include(&out).include(&sources).file(sources.join("tweetnacl.c")).warnings(false).compile("tweetnacl");
}
