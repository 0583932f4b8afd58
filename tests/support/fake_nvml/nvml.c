/* A stand-in for NVIDIA's driver library, for tests without a GPU. Its answers are lines "name number" of the file named by
 * FAKE_NVML, read anew for each call, so that a test can change them while other processes look. Functions are left out with
 * -DNO_MEMORY_V2 and -DNO_PROCESSES_V3, as in older drivers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int ret;
typedef unsigned long long u64;
enum { OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

typedef struct { u64 total, free, used; } memory_v1;
typedef struct { unsigned version; u64 total, reserved, free, used; } memory_v2;
typedef struct { unsigned pid; u64 used; unsigned gpu_instance, compute_instance; } process;
typedef struct { unsigned gpu, memory; } rates;
typedef struct { unsigned gpu, memory; u64 peak, time, start; unsigned running, reserved[5]; } accounting;

static long long value(const char *name, long long otherwise) {
    char key[64];
    long long number, found = otherwise;
    FILE *file = fopen(getenv("FAKE_NVML"), "r");
    while (file && fscanf(file, "%63s %lld", key, &number) == 2)
        if (!strcmp(key, name)) found = number;
    if (file) fclose(file);
    return found;
}

/* Lines "compute_123 456" mean: process 123 holds 456 bytes; -1 means that the driver does not tell. */
static ret list(const char *kind, unsigned *count, process *out) {
    static int refused;
    char key[64];
    long long number;
    unsigned n = 0, room = *count;
    size_t length = strlen(kind);
    ret result = (ret)value("processes_return", OK);
    if (result != OK) return result;
    FILE *file = fopen(getenv("FAKE_NVML"), "r");
    while (file && fscanf(file, "%63s %lld", key, &number) == 2)
        if (!strncmp(key, kind, length)) {
            if (out && n < room) out[n] = (process){(unsigned)strtoul(key + length, NULL, 10), (u64)number, 0, 0};
            n++;
        }
    if (file) fclose(file);
    *count = n;
    if (out && refused < value("list_grows", 0)) return refused++, INSUFFICIENT_SIZE;
    return n > room ? INSUFFICIENT_SIZE : OK;
}

static ret number(const char *name, unsigned *out) {
    long long found = value(name, -1);
    if (found < 0) return NOT_SUPPORTED;
    return *out = (unsigned)found, OK;
}

static u64 total(void) { return (u64)value("total", 24LL << 30); }
static u64 used(void) { return (u64)value("used", 0); }

ret nvmlInitWithFlags(unsigned flags) { return (void)flags, (ret)value("init_return", OK); }
ret nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(ret result) { return result == 18 ? "Driver/library version mismatch" : "fake error"; }
ret nvmlSystemGetDriverVersion(char *out, unsigned size) { return snprintf(out, size, "555.42"), OK; }
ret nvmlSystemGetCudaDriverVersion_v2(int *out) { return *out = 12050, OK; }
ret nvmlDeviceGetCount_v2(unsigned *out) { return *out = (unsigned)value("devices", 1), OK; }
ret nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) { return *out = (void *)(size_t)(index + 1), OK; }
/* Handles: cards count from 1, the slices of the first card from 100. */
static ret name(void *device, char *out, unsigned size) {
    size_t number = (size_t)device;
    return snprintf(out, size, number < 100 ? "GPU-000%zu-fake" : "MIG-000%zu-fake", number % 100 - (number < 100)), OK;
}
ret nvmlDeviceGetUUID(void *device, char *out, unsigned size) { return name(device, out, size); }
ret nvmlDeviceGetHandleByUUID(const char *wanted, void **out) {
    char found[80];
    for (size_t number = 1; number < 108; number++) {
        name((void *)number, found, sizeof found);
        int there = number < 100 ? (long long)number <= value("devices", 1) : (long long)number - 100 < value("slices", 0);
        if (there && !strcmp(found, wanted)) return *out = (void *)number, OK;
    }
    return NOT_FOUND;
}
ret nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    return *current = *pending = value("slices", 0) > 0, (size_t)device >= 100 ? INVALID_ARGUMENT : OK;
}
ret nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *out) { return (void)device, *out = 7, OK; }
ret nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **out) {
    return (void)device, *out = (void *)(size_t)(100 + index), index < value("slices", 0) ? OK : NOT_FOUND;
}
ret nvmlDeviceGetName(void *device, char *out, unsigned size) { return (void)device, snprintf(out, size, "Fake GPU"), OK; }

ret nvmlDeviceGetMemoryInfo(void *device, memory_v1 *out) {
    /* what version 1 calls used includes the driver's own reserve */
    *out = (memory_v1){total(), total() - used(), used() + ((u64)value("reserved", 0))};
    return (void)device, (ret)value("memory_return", OK);
}
#ifndef NO_MEMORY_V2
ret nvmlDeviceGetMemoryInfo_v2(void *device, memory_v2 *out) {
    *out = (memory_v2){out->version, total(), (u64)value("reserved", 0), total() - used(), used()};
    return (void)device, (ret)value("memory_return", OK);
}
#endif
#ifndef NO_PROCESSES_V3
ret nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *n, process *out) { return (void)d, list("compute_", n, out); }
ret nvmlDeviceGetGraphicsRunningProcesses_v3(void *d, unsigned *n, process *out) { return (void)d, list("graphics_", n, out); }
#endif
ret nvmlDeviceGetComputeRunningProcesses_v2(void *d, unsigned *n, process *out) { return (void)d, list("compute_", n, out); }
ret nvmlDeviceGetGraphicsRunningProcesses_v2(void *d, unsigned *n, process *out) { return (void)d, list("graphics_", n, out); }
ret nvmlDeviceGetMPSComputeRunningProcesses_v2(void *d, unsigned *n, process *out) { return (void)d, list("mps_", n, out); }

ret nvmlDeviceGetPowerUsage(void *device, unsigned *out) { return (void)device, number("milliwatts", out); }
ret nvmlDeviceGetTotalEnergyConsumption(void *device, u64 *out) {
    unsigned low;
    ret result = number("millijoules", &low);
    return (void)device, *out = low, result;
}
ret nvmlDeviceGetTemperature(void *device, int sensor, unsigned *out) { return (void)device, (void)sensor, number("celsius", out); }
ret nvmlDeviceGetClockInfo(void *device, int kind, unsigned *out) { return (void)device, (void)kind, number("megahertz", out); }
ret nvmlDeviceGetCurrentClocksThrottleReasons(void *device, u64 *out) {
    return (void)device, *out = (u64)value("throttle", 0), OK;
}
ret nvmlDeviceGetUtilizationRates(void *device, rates *out) {
    if ((size_t)device >= 100) return NO_PERMISSION;
    return out->memory = 0, number("utilization", &out->gpu);
}
ret nvmlDeviceGetAccountingMode(void *device, int *out) { return (void)device, *out = value("accounting_peak", 0) > 0, OK; }
ret nvmlDeviceGetAccountingStats(void *device, unsigned pid, accounting *out) {
    return (void)device, (void)pid, out->peak = (u64)value("accounting_peak", 0), OK;
}
ret nvmlDeviceGetDriverModel_v2(void *device, int *current, int *pending) {
    long long model = value("driver_model", -1); /* 0 is WDDM, 1 is TCC or MCDM */
    if (model < 0) return NOT_SUPPORTED;
    return (void)device, *current = *pending = (int)model, OK;
}
