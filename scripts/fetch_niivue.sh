# Sourced by environment.sh: fetches NiiVue, the viewer of the reports, into the package's folder, once. Without npm or a
# network, reports have a plainer viewer.

fetch_niivue() {
    local said
    said="$(.venv/bin/python monai_vggunet/report/pages/niivue.py 2>&1)" || echo "reports will have the plain viewer: $said"
}
