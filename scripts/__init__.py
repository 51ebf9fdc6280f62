"""The demo: boots a real ComfyUI, queues a shipped workflow, and draws what came back. Not part of the released pack."""
