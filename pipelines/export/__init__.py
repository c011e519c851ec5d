"""Exports: the original bytes of a snapshot, with what is known of them, in a format that trainers read."""

from pipelines.export.export import FORMATS, ExportReport, export

__all__ = ["FORMATS", "ExportReport", "export"]
