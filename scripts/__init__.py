"""The demo: boots a real ComfyUI and queues a shipped workflow. Not part of the released pack."""
