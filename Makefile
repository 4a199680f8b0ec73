# The commands of this project. Each prepares what it needs: `make demo` and `make test` work in a fresh clone.

# file: a directory that the nodes share. etcd: three members with client certificates.
STORE ?= file

HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
# Static, so that the program runs in any root file system; not position independent, because relocating a program of this
# size costs a plugin call more than everything else it does before main. The explicit --target keeps the flags away from
# build scripts and procedural macros, which have to be dynamic.
STATIC := -C target-feature=+crt-static -C relocation-model=static

.PHONY: build demo test bench fmt lint deny clean

build: ## the static release binary, bin/plexus
	@scripts/check-toolchain
	env -u CARGO_ENCODED_RUSTFLAGS RUSTFLAGS="$(STATIC)" cargo build --locked --release --target $(HOST) --package plexus --bin plexus
	@mkdir -p bin
	@install "$${CARGO_TARGET_DIR:-target}/$(HOST)/release/plexus" bin/plexus.new && mv -f bin/plexus.new bin/plexus

demo: ## two nodes, two overlays, the article's pods; STORE=etcd for a real etcd
	@scripts/install-packages demo $(STORE)
	@$(MAKE) --no-print-directory build
	@bin/plexus lab demo --store $(STORE)

test: ## everything that can be checked on one machine
	@scripts/install-packages test
	@scripts/test

bench: ## Plexus beside the reference plugins and beside the kernel alone
	@scripts/install-packages test
	@$(MAKE) --no-print-directory build
	@tests/bench/run

fmt: ## rewrite the sources as rustfmt wants them
	cargo fmt --all

lint: ## clippy, with every warning an error
	cargo clippy --locked --workspace --all-targets -- -D warnings

deny: ## licences, sources and doubles among the dependencies
	@scripts/install-cargo-deny
	@PATH="$(CURDIR)/.tools/bin:$$PATH" cargo deny --log-level error --locked check licenses bans sources

clean: ## what the commands above have made, except the tools in .tools
	cargo clean
	rm -rf bin
