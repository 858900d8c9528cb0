-- Views by the names that other programs know: since version 4 of the engine's database.

-- The volumes that hold disks of machines.
CREATE VIEW ossea_volumes AS
    SELECT d.volume_id, d.vm_context_id, d.disk_id, d.label AS disk_label, d.path AS disk_path, d.capacity_bytes,
           d.content, d.last_job_id, d.updated_at
    FROM vm_disks d WHERE d.volume_id IS NOT NULL;

-- Where each job found the device of each volume. A record of then: where it is now is told by the volume daemon alone.
CREATE VIEW device_mappings AS
    SELECT r.volume_id, r.device_path, r.job_id, j.vm_context_id, r.disk_id, j.status AS job_status, j.updated_at
    FROM replication_disks r JOIN replication_jobs j ON j.id = r.job_id
    WHERE r.device_path IS NOT NULL;
