"""The compiler of typed Python: source → graph → intervals → LLVM → flat image.

    program, builder, statements, loops,
    expressions, conditions, calls                     Python's syntax tree to a graph
    graph, kinds, intervals                            what the others speak of
    analysis, transfer                                 what every integer can be; refusals
    emit, instructions, debug                          the graph as LLVM's text
    link                                               the object file as a flat image

Nothing here is imported at run time: `vestige.lang.cache` sees to that.
"""
