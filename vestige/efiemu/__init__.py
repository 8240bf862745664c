"""efiemu.efi: an application of UEFI firmware that takes a running machine over."""
