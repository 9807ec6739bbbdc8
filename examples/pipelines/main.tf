# Terraform creates an instance through the API in a provisioner, and waiter, which must be installed, waits for it.
# The key comes from the environment (GCORE_API_KEY) and never enters the state of Terraform.

terraform {
  required_version = ">= 1.4"
}

variable "instances_url" {
  type        = string
  description = "For example https://api.gcore.com/cloud/v2/instances/PROJECT_ID/REGION_ID"
}

resource "terraform_data" "instance" {
  triggers_replace = [filesha256("${path.module}/instance.json")]

  provisioner "local-exec" {
    interpreter = ["/bin/bash", "-euo", "pipefail", "-c"]
    environment = {
      INSTANCES_URL = var.instances_url
    }
    command = <<-EOT
      curl --fail-with-body --silent --show-error --header "Authorization: APIKey $GCORE_API_KEY" \
        --header "Content-Type: application/json" --data @instance.json "$INSTANCES_URL" |
        waiter wait - --timeout 30m --output json > created.json
    EOT
  }
}
