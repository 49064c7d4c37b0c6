"""From a clinical text to codes with what a reviewer needs: confidence, evidence, alternatives, findings. No HTTP here."""
