//! The bundled CNI plugins: pure planning of operations and their undo.
