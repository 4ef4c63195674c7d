//! Stage 4: which regions train a model, exactly as the official code decides.
