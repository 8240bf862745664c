"""How the clocks of a frozen guest go on, and its monitor's: the last step before it runs.

What of a CPU counts time is set here, and nothing else; kvm/cpu_state.py has prepared all that does
not depend on the moment. The guest's clock is set and read back, and its TSCs go on by as much as
that did since it was frozen: by their offsets from the host's (Linux,
Documentation/virt/kvm/devices/vcpu.rst, 4.1), or, where KVM knows none, by their MSRs.

Typed Python, part of the run loop: the boot CPU's thread does it on its way to the guest.

Threat: what was frozen may be a forged file's. It is numbers that KVM checks.
"""

from vestige.abi import MAX_CPUS, MAX_DOMAINS
from vestige.host.kvm.requests import DeviceAttribute, Request
from vestige.lang.intrinsics import address_of, syscall
from vestige.lang.types import Struct, i64, u32, u64

SYS_CLOSE, SYS_IOCTL, SYS_CLOCK_GETTIME = 3, 16, 228
CLOCK_REALTIME = 0
EINTR, EINVAL = 4, 22
MILLION, BILLION = 1_000_000, 1_000_000_000
HOST_TSC = 1 << 3  # of Time.flags: `host_tsc` is known
MOST = 2 * MAX_CPUS + MAX_DOMAINS  # vCPUs: the guest's, as many of the monitor's, its workers'


class Time(Struct):
    """struct kvm_clock_data: a guest's clock, and the host's at that moment."""

    ns: u64
    flags: u32
    unused: u32
    realtime: u64
    host_tsc: u64
    more: u32[4]


class Register(Struct):
    """struct kvm_msrs with one in it."""

    count: u32
    unused: u32
    number: u32
    reserved: u32
    value: u64


class Counter(Struct):
    """A vCPU's time-stamp counter, and what else of it counts time."""

    cpu: u64  # a descriptor by which its state may be set
    is_guests: u32  # 1; 0: it is the monitor's
    has_offset: u32  # 1: `offset` is known
    tsc: u64  # when it was frozen
    offset: u64  # from the host's then
    # A guest's: addresses of what KVM takes for one that runs, and for one that waits; 0: nothing.
    local_apic: u64
    still_local_apic: u64
    deadline: u64
    no_deadline: u64
    events: u64
    attribute: DeviceAttribute  # its offset from the host's, in `moved`
    moved: u64[1]
    register: Register  # its MSR


class Clocks(Struct):
    """Those of a machine: `go_on` sets them, and `rest` undoes as much of that as goes on."""

    vm: u64  # a descriptor of the guest's, by which its clock may be set
    khz: u32  # of all its TSCs
    jumps: u32  # 1: all go on later by as long as it was frozen
    realtime: u64  # ns of CLOCK_REALTIME when it was
    monitor_tsc: u64  # then
    alike: u32  # 1: the host's TSC counts as fast as the monitor's
    count: u32  # of `counters`
    frozen: Time
    time: Time  # what KVM is told of it, and tells
    counters: Counter[MOST]
    moment: u64[2]  # struct timespec
    failed: u64  # the Request that KVM refused
    error: u32  # by this errno

    def go_on(self) -> bool:
        """Have all go on now; whether KVM took it. No vCPU may be in KVM_RUN meanwhile."""
        jump = self.jump() if self.jumps != 0 else 0
        frozen, time = self.frozen, self.time
        time.ns, time.flags = frozen.ns + jump, 0
        for request in (Request.SET_CLOCK, Request.GET_CLOCK):
            if self.ask(self.vm, request, address_of(time)) < 0:
                return False
        passed = self.periods(u64(time.ns - frozen.ns))
        monitor_tsc = u64(self.monitor_tsc + self.periods(jump))
        known = time.flags & HOST_TSC
        both = known & frozen.flags
        done = True
        for number in range(min(self.count, MOST)):
            counter = self.counters[number]
            if counter.is_guests == 0:
                knows = known != 0 and self.alike != 0
                offset = u64(monitor_tsc - time.host_tsc)
                if not knows:
                    offset, knows = self.offset_at(counter, monitor_tsc)
                done = self.show(counter, knows, offset, monitor_tsc)
            else:
                knows = both != 0 and counter.has_offset != 0
                offset = u64(counter.offset + passed + frozen.host_tsc - time.host_tsc)
                done = self.show(counter, knows, offset, u64(counter.tsc + passed))
                done = done and self.start(counter)
                if jump != 0:
                    # Its watchdogs forgive that; KVM refuses it where the guest has no KVM clock.
                    syscall(SYS_IOCTL, counter.cpu, Request.KVMCLOCK_CTRL, 0, 0, 0, 0)
            if not done:
                return False
        return True

    def rest(self) -> bool:
        """Have no timer of a CPU's run that `go_on` has started; whether KVM took it.

        Nor has one rung: that is forgotten with the local APIC's state, behind the deadline.
        """
        for number in range(min(self.count, MOST)):
            counter = self.counters[number]
            cpu, done = counter.cpu, True
            if counter.no_deadline != 0:
                done = self.set_register(cpu, counter.no_deadline)
            if done and counter.still_local_apic != 0:
                done = self.ask(cpu, Request.SET_LAPIC, counter.still_local_apic) >= 0
            if not done:
                return False
        return True

    def close(self) -> None:
        """Give back all by which state may be set."""
        syscall(SYS_CLOSE, self.vm, 0, 0, 0, 0, 0)
        for number in range(min(self.count, MOST)):
            syscall(SYS_CLOSE, self.counters[number].cpu, 0, 0, 0, 0, 0)

    def jump(self) -> u64:
        """For how many ns it was frozen; 0 where the host's clock was set back meanwhile."""
        moment = self.moment
        syscall(SYS_CLOCK_GETTIME, CLOCK_REALTIME, address_of(moment), 0, 0, 0, 0)
        now = u64(moment[0] * BILLION + moment[1])
        realtime = self.realtime
        return u64(now - realtime) if now > realtime else 0

    def periods(self, time: u64) -> u64:
        """Of a TSC, in so many ns."""
        khz = self.khz
        return u64(time // MILLION * khz + time % MILLION * khz // MILLION)

    def offset_at(self, counter: Counter, tsc: u64) -> tuple[u64, bool]:
        """By which it would show this now, as far as KVM says; whether it does."""
        known = ask(counter.cpu, Request.GET_DEVICE_ATTR, address_of(counter.attribute)) == 0
        known = known and ask(counter.cpu, Request.GET_MSRS, address_of(counter.register)) == 1
        return u64(counter.moved[0] + tsc - counter.register.value), known

    def show(self, counter: Counter, knows: bool, offset: u64, tsc: u64) -> bool:
        """Have it show `tsc`, by its offset where that is known and KVM can; whether it does.

        KVM takes MSRs that are written one after the other for an attempt to have all the same.
        """
        counter.moved[0] = offset
        place = address_of(counter.attribute)
        if knows and ask(counter.cpu, Request.SET_DEVICE_ATTR, place) == 0:
            return True
        counter.register.value = tsc
        return self.set_register(counter.cpu, address_of(counter.register))

    def start(self, counter: Counter) -> bool:
        """Set what of a CPU is counted by its TSC, and events, for which a local APIC looks."""
        cpu, done = counter.cpu, True
        if counter.local_apic != 0:
            done = self.ask(cpu, Request.SET_LAPIC, counter.local_apic) >= 0
        if done and counter.deadline != 0:
            done = self.set_register(cpu, counter.deadline)
        if done and counter.events != 0:
            done = self.ask(cpu, Request.SET_VCPU_EVENTS, counter.events) >= 0
        return done

    def set_register(self, cpu: u64, place: u64) -> bool:
        """Set the one MSR that is there; whether KVM did."""
        answer = self.ask(cpu, Request.SET_MSRS, place)
        if answer == 0:
            self.failed, self.error = Request.SET_MSRS, EINVAL
        return answer == 1

    def ask(self, descriptor: u64, request: u64, place: u64) -> i64:
        """KVM's answer; an errno is kept."""
        answer = ask(descriptor, request, place)
        if answer < 0:
            self.failed, self.error = request, u32(-answer)
        return answer


def ask(descriptor: u64, request: u64, place: u64) -> i64:
    """KVM's answer to what no signal interrupts."""
    answer: i64 = -EINTR
    while answer == -EINTR:
        answer = syscall(SYS_IOCTL, descriptor, request, place, 0, 0, 0)
    return answer
