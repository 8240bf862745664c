"""LLVM: from a module's text to an object file. Baseline x86-64, no SSE, no x87, no libc."""

import llvmlite.binding as llvm

TRIPLE = "x86_64-unknown-none-elf"
# A float that leaks in becomes an undefined symbol under soft-float; newer instructions
# fail in KVMs that emulate them.
FEATURES = "-mmx,-sse,-sse2,-sse3,-ssse3,-sse4.1,-sse4.2,-avx,-avx2,-x87,+soft-float"
SPEED = 2


def version() -> str:
    """llvmlite's version: part of what an image depends on."""
    return str(llvm.llvmlite.__version__)


def object_file(text: str) -> bytes:
    """Compile a module's text to a relocatable ELF object, position-independent."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu="x86-64", features=FEATURES, opt=SPEED, reloc="pic", codemodel="small"
    )
    module = llvm.parse_assembly(f'target datalayout = "{machine.target_data}"\n{text}')
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=SPEED)
    options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    first = llvm.create_new_module_pass_manager()
    first.add_always_inliner_pass()
    first.add_global_dead_code_eliminate_pass()  # of what has been put into all its callers
    first.run(module, builder)
    builder.getModulePassManager().run(module, builder)
    emitted: bytes = machine.emit_object(module)
    return emitted
