"""What JSON keeps."""

from typing import Any

Document = dict[str, Any]
"""Plain values by name, as JSON keeps them: such as what a stage of a tick came to."""
