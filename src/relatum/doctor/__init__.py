"""What can be known of a training in a minute, before it takes a night."""

from relatum.doctor.cost import examine_versions
from relatum.doctor.examine import examine
from relatum.doctor.finding import Finding
from relatum.doctor.folder import examine_folder

__all__ = ["Finding", "examine", "examine_folder", "examine_versions"]
