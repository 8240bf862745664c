"""Tests of fw_cfg."""
