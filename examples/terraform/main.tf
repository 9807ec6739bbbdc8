# Terraform creates an instance through the API in a provisioner, and waiter, which must be installed, waits for it.
# The key comes from the environment (GCORE_API_KEY) and never enters the state of Terraform.

terraform {
  required_version = ">= 1.4"
}

variable "instances_url" {
  type        = string
  description = "For example https://api.gcore.com/cloud/v2/instances/PROJECT_ID/REGION_ID"
}

variable "instance" {
  type        = any
  description = "The body of the request"
  default = {
    name       = "web-1"
    flavor     = "g1-standard-1-2"
    volumes    = [{ source = "image", image_id = "f01fd9a0-9548-48ba-82dc-a8c8b2d6f2f1", size = 10, boot_index = 0 }]
    interfaces = [{ type = "external" }]
  }
}

# A request that has succeeded is not sent again when the wait after it fails: the two are separate resources.
resource "terraform_data" "instance" {
  triggers_replace = [var.instances_url, var.instance]

  provisioner "local-exec" {
    interpreter = ["/bin/bash", "-euo", "pipefail", "-c"]
    environment = {
      INSTANCES_URL = var.instances_url
      INSTANCE      = jsonencode(var.instance)
    }
    command = <<-EOT
      curl --fail-with-body --silent --show-error --header "Authorization: APIKey $GCORE_API_KEY" \
        --header "Content-Type: application/json" --data "$INSTANCE" "$INSTANCES_URL" > started.json
    EOT
  }
}

# What needs the instance depends on this one: depends_on = [terraform_data.ready]
resource "terraform_data" "ready" {
  triggers_replace = [terraform_data.instance.id]

  provisioner "local-exec" {
    interpreter = ["/bin/bash", "-euo", "pipefail", "-c"]
    command     = <<-EOT
      waiter wait - --timeout 30m --output json < started.json > created.json
    EOT
  }
}
